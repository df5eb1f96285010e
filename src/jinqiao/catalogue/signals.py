"""What the catalogue tells the packages above it; sent inside the transaction.

`entry_published`: `version`, `by`. `entry_withdrawn`: `entry`, `by`, `reason`.
"""

from django.dispatch import Signal

entry_published = Signal()
entry_withdrawn = Signal()

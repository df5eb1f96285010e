"""What other packages hear of grants. Sent inside the transaction: a receiver that raises undoes the grant.

`grant_made(sender, grant, by)`: a grant came to be; `grant.replaces` names the one it takes over from.
`grant_changed(sender, grant, by)`: its state changed (`grant.state`); `by` is None where the platform did it (expiry).
"""

from django.dispatch import Signal

grant_made = Signal()
grant_changed = Signal()

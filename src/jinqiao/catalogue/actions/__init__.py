"""What is done with catalogue entries: compile, review, sign, publish, withdraw; each with its audit event and to-dos.

The course of a version is the table `enums.VERSION_MOVES`: its operator compiles it, the department's administrator reviews,
the head signs, the authority publishes. Readers see the live version meanwhile: it changes by publication only.
"""

from jinqiao.catalogue.actions.classification import import_classification
from jinqiao.catalogue.actions.compiling import create_entry, discard_draft, save_draft, start_revision, submit
from jinqiao.catalogue.actions.review import (
    Assessments,
    review_as_authority,
    review_as_department,
    sign_as_head,
    withdraw,
)

__all__ = [
    "Assessments",
    "create_entry",
    "discard_draft",
    "import_classification",
    "review_as_authority",
    "review_as_department",
    "save_draft",
    "sign_as_head",
    "start_revision",
    "submit",
    "withdraw",
]

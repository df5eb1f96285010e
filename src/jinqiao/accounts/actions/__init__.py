"""What is done with accounts. `by` is the acting post; None is the platform itself (set-up, console, demo)."""

from jinqiao.accounts.actions.applications import (
    change_application_access,
    change_application_state,
    register_application,
)
from jinqiao.accounts.actions.organisations import (
    add_organisation,
    add_region,
    add_section,
    close_organisation,
    edit_organisation,
    reopen_organisation,
)
from jinqiao.accounts.actions.people import add_person, appoint, close_person, edit_person, end_post, reopen_person
from jinqiao.accounts.actions.signing_in import change_password, choose_language, reset_password, unlock

__all__ = [
    "add_organisation",
    "add_person",
    "add_region",
    "add_section",
    "appoint",
    "change_application_access",
    "change_application_state",
    "change_password",
    "choose_language",
    "close_organisation",
    "close_person",
    "edit_organisation",
    "edit_person",
    "end_post",
    "register_application",
    "reopen_organisation",
    "reopen_person",
    "reset_password",
    "unlock",
]

"""What people do to requests and grants. Every action locks, checks, changes and records in one transaction."""

from jinqiao.sharing.actions.extensions import ask_extension, decide_extension
from jinqiao.sharing.actions.grants import (
    approve_change,
    expire_grant,
    mark_provided,
    note_filing,
    propose_change,
    resume_grant,
    revoke_grant,
    suspend_by_rule,
    suspend_grant,
)
from jinqiao.sharing.actions.replies import approve_decision, ask_for_papers, draft_decision
from jinqiao.sharing.actions.requests import (
    add_paper,
    approve_request,
    draft_request,
    save_request,
    submit_request,
    supply_papers,
    withdraw_request,
)

__all__ = [
    "add_paper",
    "approve_change",
    "approve_decision",
    "approve_request",
    "ask_extension",
    "ask_for_papers",
    "decide_extension",
    "draft_decision",
    "draft_request",
    "expire_grant",
    "mark_provided",
    "note_filing",
    "propose_change",
    "resume_grant",
    "revoke_grant",
    "save_request",
    "submit_request",
    "supply_papers",
    "suspend_by_rule",
    "suspend_grant",
    "withdraw_request",
]

"""What changes movement: one verb, one function; each checks the rules, changes state and writes the trail in one transaction."""

from jinqiao.exchange.actions.bindings import bind_entry
from jinqiao.exchange.actions.bundles import export_bundle, import_bundle
from jinqiao.exchange.actions.commands import accept_result, take_commands
from jinqiao.exchange.actions.evidence import accept_evidence, note_broken
from jinqiao.exchange.actions.keys import issue_key, revoke_key
from jinqiao.exchange.actions.nodes import (
    alert_silent_nodes,
    approve_node,
    expect_node,
    register_node,
    renew_code,
    resume_node,
    retire_node,
    suspend_node,
)
from jinqiao.exchange.actions.policy import policy_for
from jinqiao.exchange.actions.relay import open_chunk, purge_relay, store_chunk
from jinqiao.exchange.actions.rotation import rotate_identity
from jinqiao.exchange.actions.runs import start_run, stop_run
from jinqiao.exchange.actions.services import (
    attach_application,
    detach_application,
    limit_service,
    resume_service,
    suspend_service,
)
from jinqiao.exchange.actions.sources import (
    add_data_source,
    change_data_source,
    change_password,
    list_tables,
    test_connection,
)
from jinqiao.exchange.actions.tasks import configure_task, limit_task, pause_task, resume_task
from jinqiao.exchange.actions.timetable import retry_due_runs, start_due_runs

__all__ = [
    "accept_evidence",
    "accept_result",
    "add_data_source",
    "alert_silent_nodes",
    "approve_node",
    "attach_application",
    "bind_entry",
    "change_data_source",
    "change_password",
    "configure_task",
    "detach_application",
    "expect_node",
    "export_bundle",
    "import_bundle",
    "issue_key",
    "limit_service",
    "limit_task",
    "list_tables",
    "note_broken",
    "open_chunk",
    "pause_task",
    "policy_for",
    "purge_relay",
    "register_node",
    "renew_code",
    "resume_node",
    "resume_service",
    "resume_task",
    "retire_node",
    "retry_due_runs",
    "revoke_key",
    "rotate_identity",
    "start_due_runs",
    "start_run",
    "stop_run",
    "store_chunk",
    "suspend_node",
    "suspend_service",
    "take_commands",
    "test_connection",
]

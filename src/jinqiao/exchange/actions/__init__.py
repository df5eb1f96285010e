"""What changes movement: one verb, one function; each checks the rules, changes state and writes the trail in one transaction."""

from jinqiao.exchange.actions.alert_settings import (
    add_alert_channel,
    drop_alert_channel,
    drop_alert_rule,
    set_alert_rule,
    switch_alert_channel,
)
from jinqiao.exchange.actions.alerting import see_alert
from jinqiao.exchange.actions.anchors import ask_missing_witnesses, drop_old_questions, take_anchors
from jinqiao.exchange.actions.anomalies import close_anomaly, watch_calls, watch_day
from jinqiao.exchange.actions.archiving import delete_old_evidence, export_evidence
from jinqiao.exchange.actions.bindings import bind_entry, choose_transforms
from jinqiao.exchange.actions.bundles import export_bundle, import_bundle
from jinqiao.exchange.actions.commands import accept_result, take_commands
from jinqiao.exchange.actions.comparing import compare_contents, compare_due, drop_stale_comparisons
from jinqiao.exchange.actions.configuring import accept_columns, choose_checks, configure_task, plan_task
from jinqiao.exchange.actions.disclosures import export_disclosures, tell_disclosures
from jinqiao.exchange.actions.evidence import accept_evidence, note_broken
from jinqiao.exchange.actions.following import (
    announce_arrival,
    arrive_by_token,
    follow_run,
    give_arrival_token,
    start_wanted_runs,
)
from jinqiao.exchange.actions.health import note_health, note_state
from jinqiao.exchange.actions.holding import pause_run, resend_chunks, resume_run
from jinqiao.exchange.actions.keys import challenge_for, issue_key, register_key, retire_key, revoke_key
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
from jinqiao.exchange.actions.packs import KEPT as PACKS_KEPT
from jinqiao.exchange.actions.packs import ask_pack, forget_packs, make_pack, take_pack
from jinqiao.exchange.actions.policy import policy_for
from jinqiao.exchange.actions.protection import cap_node, protect_source
from jinqiao.exchange.actions.proving import prove_call, prove_receipt
from jinqiao.exchange.actions.quarantine import (
    ask_quarantine,
    forget_quarantines,
    open_quarantine,
    resubmit,
    resubmit_at_node,
)
from jinqiao.exchange.actions.relay import open_chunk, purge_relay, store_chunk, sweep_relay
from jinqiao.exchange.actions.reloads import ask_reload, decide_reload, lapse_old_reloads, reload_target
from jinqiao.exchange.actions.rotation import rotate_identity
from jinqiao.exchange.actions.runs import start_run, stop_run
from jinqiao.exchange.actions.sampling import (
    announce_sampling,
    draw_period,
    judge_sample,
    justify_sample,
    tend_sampling,
)
from jinqiao.exchange.actions.sending import mail_way, send_alert, try_channel
from jinqiao.exchange.actions.service_settings import ServiceSettings, announce_end, set_service, settings_of
from jinqiao.exchange.actions.services import (
    attach_application,
    detach_application,
    resume_service,
    suspend_service,
)
from jinqiao.exchange.actions.slots import watch_slots
from jinqiao.exchange.actions.sources import (
    add_data_source,
    change_data_source,
    change_password,
    list_tables,
    retire_data_source,
    test_connection,
)
from jinqiao.exchange.actions.subjects import commitments_of, renew_subject_key, subject_keys
from jinqiao.exchange.actions.tasks import limit_task, pause_task, resume_task
from jinqiao.exchange.actions.timetable import retry_due_runs, start_due_runs
from jinqiao.exchange.actions.unused import remind_unused
from jinqiao.exchange.actions.watching import watch
from jinqiao.exchange.actions.windows import backfill, replay, start_over

__all__ = [
    "PACKS_KEPT",
    "ServiceSettings",
    "accept_columns",
    "accept_evidence",
    "accept_result",
    "add_alert_channel",
    "add_data_source",
    "alert_silent_nodes",
    "announce_arrival",
    "announce_end",
    "announce_sampling",
    "approve_node",
    "arrive_by_token",
    "ask_missing_witnesses",
    "ask_pack",
    "ask_quarantine",
    "ask_reload",
    "attach_application",
    "backfill",
    "bind_entry",
    "cap_node",
    "challenge_for",
    "change_data_source",
    "change_password",
    "choose_checks",
    "choose_transforms",
    "close_anomaly",
    "commitments_of",
    "compare_contents",
    "compare_due",
    "configure_task",
    "decide_reload",
    "delete_old_evidence",
    "detach_application",
    "draw_period",
    "drop_alert_channel",
    "drop_alert_rule",
    "drop_old_questions",
    "drop_stale_comparisons",
    "expect_node",
    "export_bundle",
    "export_disclosures",
    "export_evidence",
    "follow_run",
    "forget_packs",
    "forget_quarantines",
    "give_arrival_token",
    "import_bundle",
    "issue_key",
    "judge_sample",
    "justify_sample",
    "lapse_old_reloads",
    "limit_task",
    "list_tables",
    "mail_way",
    "make_pack",
    "note_broken",
    "note_health",
    "note_state",
    "open_chunk",
    "open_quarantine",
    "pause_run",
    "pause_task",
    "plan_task",
    "policy_for",
    "protect_source",
    "prove_call",
    "prove_receipt",
    "purge_relay",
    "register_key",
    "register_node",
    "reload_target",
    "remind_unused",
    "renew_code",
    "renew_subject_key",
    "replay",
    "resend_chunks",
    "resubmit",
    "resubmit_at_node",
    "resume_node",
    "resume_run",
    "resume_service",
    "resume_task",
    "retire_data_source",
    "retire_key",
    "retire_node",
    "retry_due_runs",
    "revoke_key",
    "rotate_identity",
    "see_alert",
    "send_alert",
    "set_alert_rule",
    "set_service",
    "settings_of",
    "start_due_runs",
    "start_over",
    "start_run",
    "start_wanted_runs",
    "stop_run",
    "store_chunk",
    "subject_keys",
    "suspend_node",
    "suspend_service",
    "sweep_relay",
    "switch_alert_channel",
    "take_anchors",
    "take_commands",
    "take_pack",
    "tell_disclosures",
    "tend_sampling",
    "test_connection",
    "try_channel",
    "watch",
    "watch_calls",
    "watch_day",
    "watch_slots",
]

"""What is done on the desk. `by` is the acting post; None is the platform itself."""

from jinqiao.workflow.actions.attachments import attach, open_attachment
from jinqiao.workflow.actions.calendar import enter_calendar_year
from jinqiao.workflow.actions.clocks import extend_clock, pause_clock, resume_clock, start_clock, stop_clock
from jinqiao.workflow.actions.signing import sign
from jinqiao.workflow.actions.todos import finish_todo, finish_todos, open_todo
from jinqiao.workflow.notices import NoticeDay

__all__ = [
    "NoticeDay",
    "attach",
    "enter_calendar_year",
    "extend_clock",
    "finish_todo",
    "finish_todos",
    "open_attachment",
    "open_todo",
    "pause_clock",
    "resume_clock",
    "sign",
    "start_clock",
    "stop_clock",
]

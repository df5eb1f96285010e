"""What can go wrong on the desk."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, WrongState


class ClockRuns(WrongState):
    """A clock of this kind runs on the case already. Details: clock."""

    code = "workflow.clock.runs"


class ClockNotRunning(WrongState):
    """The clock is paused or stopped. Details: state."""

    code = "workflow.clock.not_running"


class ClockNotPaused(WrongState):
    """Only a paused clock is resumed. Details: state."""

    code = "workflow.clock.not_paused"


class ClockStopped(WrongState):
    """The clock has stopped for good."""

    code = "workflow.clock.stopped"


class PauseNotFound(NotAllowed):
    """The rule set knows no pause for this clock. Details: clock."""

    code = "workflow.clock.no_pause"


class ClockBackwards(InvalidInput):
    """A clock is not resumed or stopped before it was paused or started. Details: on, since."""

    code = "workflow.clock.backwards"


class ExtensionNotFound(NotAllowed):
    """The rule set knows no extension of this clock. Details: clock."""

    code = "workflow.clock.no_extension"


class ExtensionUsed(WrongState):
    """A clock is extended once. Details: days."""

    code = "workflow.clock.extended_before"


class ExtensionTooLong(InvalidInput):
    """More days than the rule set allows, or none. Details: days, most."""

    code = "workflow.clock.extension_too_long"


class ExtensionTooLate(WrongState):
    """What is overdue is not extended. Details: due_on."""

    code = "workflow.clock.extension_too_late"


class ConsentNeeded(NotAllowed):
    """The extension needs the consent of the authority, given by its own bureau. Details: days."""

    code = "workflow.clock.consent_needed"


class NotCalendarKeeper(NotAllowed):
    """Only the authority's bureau enters the calendar."""

    code = "workflow.calendar.keeper_needed"


class CalendarYearEntered(WrongState):
    """The year's notice is entered already. Details: year."""

    code = "workflow.calendar.entered"


class CalendarDaysWrong(InvalidInput):
    """Days of a notice contradict each other or the year. Details: lines (joined sentences)."""

    code = "workflow.calendar.days"


class AttachmentKind(InvalidInput):
    """Not one of the kinds that are taken. Details: extension, allowed."""

    code = "workflow.attachment.kind"


class AttachmentContent(InvalidInput):
    """The content is not what the extension says. Details: extension."""

    code = "workflow.attachment.content"


class AttachmentMacros(InvalidInput):
    """The document carries macros."""

    code = "workflow.attachment.macros"


class AttachmentSize(InvalidInput):
    """Empty, or larger than allowed. Details: size_bytes, most_mib."""

    code = "workflow.attachment.size"


class AttachmentSecret(NotAllowed):
    """Its name marks it as secret: this platform holds no secrets. Details: mark."""

    code = "workflow.attachment.secret"


class AttachmentLost(WrongState):
    """The file on disk is not the one that was handed in. Details: attachment."""

    code = "workflow.attachment.lost"


class ToDoElsewhere(NotAllowed):
    """The to-do waits for another post."""

    code = "workflow.todo.elsewhere"

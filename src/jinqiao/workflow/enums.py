"""States of the desk."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class DayKind(models.TextChoices):
    OFF = "off", _("放假")
    WORK = "work", _("调休上班")


class ClockState(models.TextChoices):
    RUNNING = "running", _("计时中")
    PAUSED = "paused", _("暂停计时")
    STOPPED = "stopped", _("已办结")


CLOCK_MOVES: dict[ClockState, frozenset[ClockState]] = {
    ClockState.RUNNING: frozenset({ClockState.PAUSED, ClockState.STOPPED}),
    ClockState.PAUSED: frozenset({ClockState.RUNNING, ClockState.STOPPED}),
    ClockState.STOPPED: frozenset(),
}


class SignOffKind(models.TextChoices):
    CATALOGUE_HEAD = "catalogue_head", _("目录签发")
    CATALOGUE_DEPARTMENT = "catalogue_department", _("目录部门审核")
    CATALOGUE_AUTHORITY = "catalogue_authority", _("目录主管部门审核")
    REQUEST_HEAD = "request_head", _("申请审批")
    DECISION_HEAD = "decision_head", _("答复审批")
    EXTENSION_AUTHORITY = "extension_authority", _("延期同意")
    EXCHANGE_RELOAD = "exchange_reload", _("清空重载签批")

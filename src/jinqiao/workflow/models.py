"""The shared desk: to-do items, clocks, the calendar of working days, sign-offs, attachments.

Things that a to-do, a clock or a sign-off is about are named by `about_type` and `about_id`: packages above point down to
the desk, the desk never points up.
"""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Person, Post
from jinqiao.workflow.enums import ClockState, DayKind, SignOffKind


class CalendarYear(models.Model):
    """A year whose days off and make-up days the State Council has published."""

    year = models.PositiveIntegerField(_("年份"), unique=True)
    notice = models.CharField(_("通知文号"), max_length=100)
    entered_at = models.DateTimeField(_("录入时间"))

    class Meta:
        verbose_name = _("放假安排年份")
        verbose_name_plural = _("放假安排年份")
        ordering = ["-year"]

    def __str__(self) -> str:
        return str(self.year)


class CalendarDay(models.Model):
    """A day off on a weekday, or a make-up working day on a weekend."""

    on = models.DateField(_("日期"), unique=True)
    kind = models.CharField(_("类别"), max_length=10, choices=DayKind)
    name = models.CharField(_("节日"), max_length=40)
    year = models.ForeignKey(CalendarYear, models.CASCADE, related_name="days", verbose_name=_("年份"))

    class Meta:
        verbose_name = _("放假与调休日")
        verbose_name_plural = _("放假与调休日")
        ordering = ["on"]

    def __str__(self) -> str:
        return f"{self.on} {self.name}"


class Clock(models.Model):
    """A statutory clock that runs on a case. Every date stands as it was computed; nothing is recomputed silently.

    `due_on` is empty while the calendar of a year it runs into is not published (期限未定).
    """

    key = models.CharField(_("时限"), max_length=60)
    rule_set = models.CharField(_("规则集"), max_length=40)
    clause = models.CharField(_("条款"), max_length=100, blank=True)
    about_type = models.CharField(max_length=60)
    about_id = models.CharField(max_length=64)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="clocks", verbose_name=_("责任机构"))
    started_on = models.DateField(_("起算日"))
    working_days = models.PositiveIntegerField(_("工作日数"))
    extended_by = models.PositiveIntegerField(_("延长工作日数"), default=0)
    due_on = models.DateField(_("到期日"), null=True, blank=True)
    state = models.CharField(_("状态"), max_length=10, choices=ClockState, default=ClockState.RUNNING)
    paused_on = models.DateField(_("暂停日"), null=True, blank=True)
    paused_days = models.PositiveIntegerField(_("已暂停工作日数"), default=0)
    stopped_on = models.DateField(_("办结日"), null=True, blank=True)

    class Meta:
        verbose_name = _("时限")
        verbose_name_plural = _("时限")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["about_type", "about_id"], name="clock_about"),
            models.Index(fields=["state", "due_on"], name="clock_state_due"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.about_type}:{self.about_id}"


class ClockPause(models.Model):
    """One time that a clock stood still; from it paused days can be counted once the calendar is known."""

    clock = models.ForeignKey(Clock, models.CASCADE, related_name="pauses", verbose_name=_("时限"))
    paused_on = models.DateField(_("暂停日"))
    resumed_on = models.DateField(_("恢复日"), null=True, blank=True)

    class Meta:
        verbose_name = _("暂停")
        verbose_name_plural = _("暂停")
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(resumed_on__isnull=True) | Q(resumed_on__gte=F("paused_on")),
                name="clock_pause_ends_after_it_starts",
            )
        ]

    def __str__(self) -> str:
        return f"{self.clock_id} {self.paused_on}"


class ToDo(models.Model):
    """One thing that waits for whoever holds `role` at `organisation` (or for one named person)."""

    kind = models.CharField(_("事项"), max_length=60)
    title = models.CharField(_("标题"), max_length=300)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="todos", verbose_name=_("机构"))
    role = models.CharField(_("角色"), max_length=30)
    person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="todos", verbose_name=_("指定人员")
    )
    about_type = models.CharField(max_length=60)
    about_id = models.CharField(max_length=64)
    clock = models.ForeignKey(
        Clock, models.SET_NULL, null=True, blank=True, related_name="todos", verbose_name=_("时限")
    )
    created_at = models.DateTimeField(_("产生时间"))
    done_at = models.DateTimeField(_("办结时间"), null=True, blank=True)
    done_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("办理岗位")
    )

    class Meta:
        verbose_name = _("待办")
        verbose_name_plural = _("待办")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["organisation", "role", "done_at"], name="todo_desk"),
            models.Index(fields=["about_type", "about_id"], name="todo_about"),
        ]

    def __str__(self) -> str:
        return self.title


class SignOff(models.Model):
    """A person in a post signs a state of a thing; `digest` is of what was signed."""

    kind = models.CharField(_("签批"), max_length=30, choices=SignOffKind)
    about_type = models.CharField(max_length=60)
    about_id = models.CharField(max_length=64)
    post = models.ForeignKey(Post, models.PROTECT, related_name="sign_offs", verbose_name=_("签批岗位"))
    person_name = models.CharField(_("签批人"), max_length=60)
    organisation_name = models.CharField(_("机构"), max_length=200)
    role = models.CharField(_("角色"), max_length=30)
    opinion = models.TextField(_("意见"), blank=True)
    approved = models.BooleanField(_("同意"))
    signed_at = models.DateTimeField(_("时间"))
    digest = models.CharField(_("内容摘要"), max_length=64)

    class Meta:
        verbose_name = _("签批")
        verbose_name_plural = _("签批")
        ordering = ["id"]
        indexes = [models.Index(fields=["about_type", "about_id"], name="sign_off_about")]

    def __str__(self) -> str:
        return f"{self.kind} {self.about_type}:{self.about_id}"


class Attachment(models.Model):
    """A file handed in with a case; kept as it came, named by its digest on disk."""

    about_type = models.CharField(max_length=60)
    about_id = models.CharField(max_length=64)
    name = models.CharField(_("文件名"), max_length=200)
    media_type = models.CharField(_("类型"), max_length=100)
    size_bytes = models.PositiveBigIntegerField(_("大小"))
    digest = models.CharField(_("摘要"), max_length=64)
    file = models.FileField(upload_to="attachments/%Y/%m")
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="attachments", verbose_name=_("机构"))
    added_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("上传岗位"))
    added_at = models.DateTimeField(_("上传时间"))

    class Meta:
        verbose_name = _("附件")
        verbose_name_plural = _("附件")
        ordering = ["id"]
        indexes = [models.Index(fields=["about_type", "about_id"], name="attachment_about")]

    def __str__(self) -> str:
        return self.name

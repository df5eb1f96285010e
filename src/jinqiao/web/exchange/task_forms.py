"""Forms of a task: where and how it delivers, when it runs, windows of earlier data."""

import re
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import Priority, SourceState
from jinqiao.exchange.models import (
    COPY_MODES,
    DELIVERIES,
    DRIFT_CHOICES,
    LEDGER_PLACES,
    RECONCILES,
    DataSource,
    ExchangeTask,
)
from jinqiao.exchange.queries.tasks import possible_predecessors
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.web.exchange.words import WEEKDAYS

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def short(**attributes: Any) -> forms.NumberInput:
    return forms.NumberInput(attrs={"class": "is-short", **attributes})


def _rows_per_s(hint: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=_("限速（行/秒）"), required=False, min_value=10, max_value=10_000_000, help_text=hint, widget=short()
    )


def _mb_per_s() -> forms.FloatField:
    return forms.FloatField(
        label=_("限速（MB/秒）"),
        required=False,
        min_value=0.01,
        max_value=10_000,
        help_text=_("空着不限"),
        widget=short(step="any"),
    )


class ScheduleFields(forms.Form):
    """A plan in four fields, or five of cron; `schedule` of the cleaned data is its text."""

    every = forms.ChoiceField(
        label=_("计划"),
        choices=[
            ("", _("不定期，由人启动")),
            ("hourly", _("每小时")),
            ("daily", _("每天")),
            ("weekly", _("每周")),
            ("monthly", _("每月")),
            ("cron", _("cron表达式")),
        ],
        required=False,
    )
    weekday = forms.ChoiceField(
        label=_("周几"),
        choices=[(str(day), word) for day, word in enumerate(WEEKDAYS, start=1)],
        required=False,
        help_text=_("每周运行时用"),
    )
    day = forms.IntegerField(
        label=_("几号"),
        min_value=1,
        max_value=31,
        required=False,
        help_text=_("每月运行时用；没有这一天的月份在最后一天运行"),
        widget=short(),
    )
    at = forms.CharField(
        label=_("几点"),
        max_length=5,
        required=False,
        help_text=_("每天、每周、每月运行时用，例如22:00"),
        widget=forms.TextInput(attrs={"class": "is-short", "type": "time"}),
    )
    cron = forms.CharField(
        label=_("cron表达式"),
        max_length=100,
        required=False,
        help_text=_("分 时 日 月 周五段，例如30 2 * * 1-5是工作日2:30；选cron表达式时用"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )

    @staticmethod
    def parts_of(schedule: str) -> dict[str, Any]:
        """The fields that say a plan."""
        words = schedule.split()
        every = words[0] if words else ""
        return {
            "every": every,
            "weekday": words[1] if every == "weekly" else "1",
            "day": int(words[1]) if every == "monthly" else None,
            "at": words[-1] if every in ("daily", "weekly", "monthly") else "",
            "cron": " ".join(words[1:]) if every == "cron" else "",
        }

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        every = values.get("every", "")
        if every in ("daily", "weekly", "monthly") and not _TIME.fullmatch(values.get("at") or ""):
            self.add_error("at", _("写几点几分，例如22:00。"))
        if every == "monthly" and not values.get("day") and "day" not in self.errors:
            self.add_error("day", _("写每月几号。"))
        if every == "cron" and not (values.get("cron") or "").strip():
            self.add_error("cron", _("写五段，用空格分开。"))
        if self.errors:
            return values
        values["schedule"] = {
            "": "",
            "hourly": "hourly",
            "daily": f"daily {values.get('at')}",
            "weekly": f"weekly {values.get('weekday')} {values.get('at')}",
            "monthly": f"monthly {values.get('day') or 0:02d} {values.get('at')}",
            "cron": f"cron {' '.join((values.get('cron') or '').split())}",
        }[every]
        return values


class TaskForm(ScheduleFields):
    """Where a task delivers, how, and its plan. Column names of the target stand one for each item."""

    target = forms.ModelChoiceField(
        label=_("交付到"),
        queryset=DataSource.objects.none(),
        empty_label=_("选择数据源"),
        help_text=_("本部门登记为可交付的数据源；没有时先到数据源页登记"),
    )
    target_table = forms.CharField(
        label=_("目标表"), max_length=121, widget=forms.TextInput(attrs={"class": "is-mid code"})
    )
    create_target = forms.BooleanField(label=_("目标表不存在时，按授权的数据项建立"), required=False, initial=True)
    mode = forms.ChoiceField(
        label=_("读取方式"),
        choices=COPY_MODES,
        widget=forms.RadioSelect,
        help_text=_("全量读全部授权行；水位只读改动的行；比对能发现删除；变更日志只有PostgreSQL来源可用"),
    )
    delivery = forms.ChoiceField(
        label=_("交付方式"),
        choices=[("", _("按读取方式的惯例")), *DELIVERIES],
        required=False,
        help_text=_("惯例：水位为更新插入，其余为镜像"),
    )
    drift = forms.ChoiceField(
        label=_("结构变化时"), choices=DRIFT_CHOICES, widget=forms.RadioSelect, required=False, initial="refuse"
    )
    reconcile = forms.ChoiceField(
        label=_("对账"),
        choices=RECONCILES,
        widget=forms.RadioSelect,
        required=False,
        initial="counts",
        help_text=_("逐内容比对在运行后两侧重读，只用于镜像"),
    )
    ledger = forms.ChoiceField(
        label=_("台账位置"),
        choices=LEDGER_PLACES,
        widget=forms.RadioSelect,
        required=False,
        initial="target",
        help_text=_("目标库不许建台账表时才选接收节点"),
    )
    overlap_s = forms.IntegerField(
        label=_("回看（秒）"),
        required=False,
        min_value=0,
        max_value=31 * 86_400,
        help_text=_("水位方式：从水位往回看多久，接住晚提交的行；没有变化的不重送"),
        widget=short(),
    )
    chunk_rows = forms.IntegerField(
        label=_("每块行数"), required=False, min_value=1_000, max_value=1_000_000, widget=short()
    )
    rows_per_s = _rows_per_s(_("空着不限；提供方的限制更严时按提供方"))
    mb_per_s = _mb_per_s()
    field_order = (
        "target", "target_table", "create_target", "mode", "delivery", "every", "weekday", "day", "at", "cron", "drift",
        "reconcile", "ledger", "overlap_s", "chunk_rows", "rows_per_s", "mb_per_s",
    )  # fmt: skip

    def __init__(self, task: ExchangeTask, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        sources = DataSource.objects.filter(organisation_id=task.grant.consumer_id, is_writable=True)
        cast("forms.ModelChoiceField[DataSource]", self.fields["target"]).queryset = sources.exclude(
            state=SourceState.RETIRED
        ).order_by("number")
        self.items = list(task.grant.items)
        for item in self.items:
            self.fields[f"name-{item['code']}"] = forms.CharField(
                label=item["name"],
                max_length=60,
                required=False,
                help_text=_("空着用%(code)s") % {"code": item["code"]},
                widget=forms.TextInput(attrs={"class": "is-mid code"}),
            )

    @property
    def name_fields(self) -> str:
        """For `form_fields`."""
        return ",".join(f"name-{item['code']}" for item in self.items)

    @classmethod
    def values_of(cls, task: ExchangeTask) -> dict[str, Any]:
        """What the task says now, for the form's first showing."""
        return {
            "target": task.target_id,
            "target_table": task.target_table,
            "create_target": task.create_target,
            "mode": task.mode or CopyMode.FULL.value,
            "delivery": task.delivery if task.target_id else "",
            "drift": task.drift,
            "reconcile": task.reconcile,
            "ledger": task.ledger,
            "overlap_s": task.overlap_s,
            "chunk_rows": task.chunk_rows,
            "rows_per_s": task.rows_per_s,
            "mb_per_s": task.mb_per_s,
            **cls.parts_of(task.schedule),
            **{f"name-{code}": name for code, name in task.target_names.items()},
        }

    def wanted(self) -> dict[str, Any]:
        """What `configure_task` takes."""
        values = self.cleaned_data
        names = {str(item["code"]): values[f"name-{item['code']}"] for item in self.items}
        plain = (
            "target", "target_table", "create_target", "mode", "schedule", "overlap_s", "chunk_rows", "rows_per_s", "mb_per_s",
        )  # fmt: skip
        chosen = {name: values[name] for name in ("delivery", "drift", "reconcile", "ledger") if values[name]}
        return {**{name: values[name] for name in plain}, **chosen, "target_names": names}


class TaskChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Tasks by the name of their entry."""

    def label_from_instance(self, task: ExchangeTask) -> str:
        return f"{task.grant.version.name}（{task.number}）"


class PlanForm(ScheduleFields):
    """When a task runs, how it stands among others, how it is tried again, when its contents are compared."""

    after_task = TaskChoice(
        label=_("接在任务之后"),
        queryset=ExchangeTask.objects.none(),
        required=False,
        empty_label=_("不接在其他任务之后"),
        help_text=_("那个任务的运行一对账，本任务就开始"),
    )
    on_arrival = forms.BooleanField(
        label=_("来源通知有新数据时运行"),
        required=False,
        help_text=_("通知由提供方在数据源页发出，或由其系统用到达通知口令调用"),
    )
    priority = forms.TypedChoiceField(
        label=_("优先级"), choices=Priority.choices, coerce=int, initial=Priority.NORMAL, widget=forms.RadioSelect
    )
    max_attempts = forms.IntegerField(
        label=_("最多尝试次数"),
        min_value=1,
        max_value=20,
        initial=5,
        help_text=_("只有能重试的问题才重试"),
        widget=short(),
    )
    back_off_s = forms.IntegerField(
        label=_("首次重试等待（秒）"),
        min_value=5,
        max_value=86_400,
        initial=30,
        help_text=_("之后每次加长到四倍，最长一小时"),
        widget=short(),
    )
    compare_schedule = forms.CharField(
        label=_("定期内容比对"),
        max_length=120,
        required=False,
        help_text=_("空着不比对；写daily 03:00、weekly 7 03:00、monthly 01 03:00或cron与五段，只用于镜像"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )
    field_order = (
        "every",
        "weekday",
        "day",
        "at",
        "cron",
        "after_task",
        "on_arrival",
        "priority",
        "max_attempts",
        "back_off_s",
    )

    def __init__(self, task: ExchangeTask, post: Post, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("TaskChoice", self.fields["after_task"]).queryset = possible_predecessors(task, post)

    @classmethod
    def values_of(cls, task: ExchangeTask) -> dict[str, Any]:
        names = ("on_arrival", "priority", "max_attempts", "back_off_s", "compare_schedule")
        return {
            **cls.parts_of(task.schedule),
            "after_task": task.after_task_id,
            **{name: getattr(task, name) for name in names},
        }

    def wanted(self) -> dict[str, Any]:
        """What `plan_task` takes."""
        names = ("schedule", "after_task", "on_arrival", "priority", "max_attempts", "back_off_s", "compare_schedule")
        return {name: self.cleaned_data[name] for name in names}


class SpeedForm(forms.Form):
    rows_per_s = _rows_per_s(_("空着不限；从下一次运行起生效"))
    mb_per_s = _mb_per_s()


class WindowForm(forms.Form):
    """A window of watermarks to bring once more."""

    since = forms.CharField(
        label=_("从"),
        max_length=60,
        required=False,
        help_text=_("水位列的值，例如2026-03-01T00:00:00或序号；空着从最早起"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )
    until = forms.CharField(label=_("到（含）"), max_length=60, widget=forms.TextInput(attrs={"class": "is-mid code"}))


class DecisionForm(forms.Form):
    """Whether a table may be emptied and loaded anew."""

    approved = forms.TypedChoiceField(
        label=_("意见"),
        choices=[("yes", _("同意清空重载")), ("no", _("不同意"))],
        coerce=lambda value: value == "yes",
        empty_value=None,
        widget=forms.RadioSelect,
    )
    opinion = forms.CharField(label=_("说明"), max_length=300, required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("approved") is False and not values.get("opinion", "").strip():
            self.add_error("opinion", _("写明不同意的理由。"))
        return values

"""Forms of movement."""

import re
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application, Organisation, Post
from jinqiao.exchange.enums import NetworkZone, NodeKind, NodeState, RunState, SourceState, TaskState
from jinqiao.exchange.models import COPY_MODES, ENGINES, DataSource, ExchangeTask, Node
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.tables import Engine

_ALL = [("", _("全部"))]


class DateInput(forms.DateInput):
    """A native date field; also without script."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d", attrs={"class": "is-short"})


def _search(label: Any) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )


class NodeFilter(forms.Form):
    q = _search(_("名称或标识"))
    kind = forms.ChoiceField(label=_("类别"), required=False, choices=[*_ALL, *NodeKind.choices])
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*_ALL, *NodeState.choices])


class SourceFilter(forms.Form):
    q = _search(_("名称或标识"))
    engine = forms.ChoiceField(label=_("类型"), required=False, choices=[*_ALL, *ENGINES])
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*_ALL, *SourceState.choices])


class EntryFilter(forms.Form):
    q = _search(_("目录名称或代码"))
    state = forms.ChoiceField(
        label=_("挂接"), required=False, choices=[*_ALL, ("bound", _("已挂接")), ("open", _("未挂接"))]
    )


class TaskFilter(forms.Form):
    q = _search(_("编号、授权或目录名称"))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*_ALL, *TaskState.choices])


class RunFilter(forms.Form):
    q = _search(_("编号、授权或目录名称"))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*_ALL, *RunState.choices])
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())


class ServiceFilter(forms.Form):
    q = _search(_("服务、授权或目录名称"))
    state = forms.ChoiceField(
        label=_("状态"), required=False, choices=[*_ALL, ("open", _("使用中")), ("suspended", _("已暂停"))]
    )


class CallFilter(forms.Form):
    q = _search(_("调用编号、业务编号"))
    service = _search(_("服务"))
    outcome = forms.ChoiceField(
        label=_("结果"), required=False, choices=[*_ALL, ("ok", _("已答复")), ("refused", _("未答复"))]
    )
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())


class NodeForm(forms.Form):
    """The bureau chooses the department; others register for their own."""

    number = forms.SlugField(
        label=_("节点标识"),
        max_length=60,
        help_text=_("小写字母、数字和连字符，例如 rsj-front-1"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )
    name = forms.CharField(label=_("名称"), max_length=100)
    kind = forms.ChoiceField(label=_("类别"), choices=NodeKind.choices, widget=forms.RadioSelect)
    organisation = forms.ModelChoiceField(
        label=_("所属机构"), queryset=Organisation.objects.filter(is_active=True), empty_label=_("选择机构")
    )
    zone = forms.ChoiceField(label=_("所在网络"), choices=NetworkZone.choices)

    def __init__(self, *arguments: Any, own: Organisation | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if own is not None:
            del self.fields["organisation"]
        self.own = own

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if self.own is not None:
            values["organisation"] = self.own
        return values


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("原因"), max_length=200, widget=forms.Textarea(attrs={"rows": 2}))


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=_("口令"),
        max_length=200,
        strip=False,
        help_text=_("提交后立即密封给节点和网关，平台不保存，也读不出"),
        widget=forms.PasswordInput(attrs={"class": "is-mid", "autocomplete": "new-password"}),
    )


class SourceForm(PasswordForm):
    """A database as the node reaches it. Files need neither host nor account."""

    node = forms.ModelChoiceField(label=_("经由节点"), queryset=Node.objects.none(), empty_label=_("选择节点"))
    name = forms.CharField(label=_("名称"), max_length=100, help_text=_("业务上的叫法，例如社保业务库"))
    engine = forms.ChoiceField(label=_("类型"), choices=ENGINES)
    host = forms.CharField(
        label=_("主机"), max_length=200, required=False, help_text=_("数据库服务器地址；SQLite和CSV不填")
    )
    port = forms.IntegerField(
        label=_("端口"),
        required=False,
        min_value=1,
        max_value=65535,
        help_text=_("空着用默认端口"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    database = forms.CharField(
        label=_("数据库"), max_length=300, help_text=_("库名；SQLite填文件路径，CSV填文件夹路径，都以节点所在机器为准")
    )
    user = forms.CharField(
        label=_("账号"), max_length=100, required=False, help_text=_("来源库用只读账号；SQLite和CSV不填")
    )
    is_writable = forms.BooleanField(
        label=_("可作为交付目标"), required=False, help_text=_("本部门接收数据时，允许写入这个库")
    )
    field_order = ("node", "name", "engine", "host", "port", "database", "user", "password", "is_writable")

    def __init__(self, post: Post, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        own = Node.objects.filter(
            organisation_id=post.organisation_id, kind=NodeKind.FRONT_END, state=NodeState.ACTIVE
        ).order_by("number")
        cast("forms.ModelChoiceField[Node]", self.fields["node"]).queryset = own
        self.fields["password"].required = False

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("engine") in (Engine.POSTGRESQL.value, Engine.MYSQL.value):
            for name in ("host", "user"):
                if not values.get(name):
                    self.add_error(name, _("数据库服务器须填这一项。"))
        return values


class SourceChangeForm(SourceForm):
    """What of a source may change; engine, node and password have their own ways."""

    def __init__(self, source: DataSource, post: Post, *arguments: Any, **keywords: Any) -> None:
        super().__init__(post, *arguments, **keywords)
        self.kind = source.engine
        for name in ("node", "engine", "password"):
            del self.fields[name]
        if source.engine not in (Engine.POSTGRESQL.value, Engine.MYSQL.value):
            for name in ("host", "port", "user"):
                del self.fields[name]

    def clean(self) -> dict[str, Any]:
        self.cleaned_data["engine"] = self.kind
        values = super().clean()
        values.pop("engine")
        return values


_WEEKDAYS = [
    (str(day), word)
    for day, word in enumerate((_("周一"), _("周二"), _("周三"), _("周四"), _("周五"), _("周六"), _("周日")), start=1)
]
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class TaskForm(forms.Form):
    """Target, way and plan of a task."""

    target = forms.ModelChoiceField(
        label=_("交付到"),
        queryset=DataSource.objects.none(),
        empty_label=_("选择数据源"),
        help_text=_("本部门登记为可交付的数据源；没有时先到数据源页登记"),
    )
    target_table = forms.CharField(
        label=_("目标表"),
        max_length=121,
        help_text=_("不存在时自动建立"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )
    mode = forms.ChoiceField(
        label=_("方式"),
        choices=COPY_MODES,
        widget=forms.RadioSelect,
        help_text=_("全量：目标表与授权范围完全一致；增量：只取水位之后新增和改动的行"),
    )
    every = forms.ChoiceField(
        label=_("计划"),
        choices=[
            ("", _("不定期，由人启动")),
            ("hourly", _("每小时")),
            ("daily", _("每天")),
            ("weekly", _("每周")),
            ("monthly", _("每月")),
        ],
        required=False,
    )
    weekday = forms.ChoiceField(label=_("周几"), choices=_WEEKDAYS, required=False, help_text=_("每周运行时用"))
    day = forms.IntegerField(
        label=_("几号"),
        min_value=1,
        max_value=31,
        required=False,
        help_text=_("每月运行时用；没有这一天的月份在最后一天运行"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    at = forms.CharField(
        label=_("几点"),
        max_length=5,
        required=False,
        help_text=_("每天、每周、每月运行时用，例如22:00"),
        widget=forms.TextInput(attrs={"class": "is-short", "type": "time"}),
    )
    rows_per_s = forms.IntegerField(
        label=_("限速（行/秒）"),
        required=False,
        min_value=10,
        max_value=10_000_000,
        help_text=_("空着不限"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )

    def __init__(self, task: ExchangeTask, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        sources = DataSource.objects.filter(organisation_id=task.grant.consumer_id, is_writable=True)
        cast("forms.ModelChoiceField[DataSource]", self.fields["target"]).queryset = sources.order_by("number")

    @staticmethod
    def values_of(task: ExchangeTask) -> dict[str, Any]:
        """What the task says now, for the form's first showing."""
        words = task.schedule.split()
        every = words[0] if words else ""
        return {
            "target": task.target_id,
            "target_table": task.target_table,
            "mode": task.mode or CopyMode.FULL.value,
            "every": every,
            "weekday": words[1] if every == "weekly" else "1",
            "day": int(words[1]) if every == "monthly" else None,
            "at": words[-1] if every in ("daily", "weekly", "monthly") else "",
            "rows_per_s": task.rows_per_s,
        }

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        every = values.get("every", "")
        if every in ("daily", "weekly", "monthly") and not _TIME.fullmatch(values.get("at") or ""):
            self.add_error("at", _("写几点几分，例如22:00。"))
        if every == "monthly" and not values.get("day") and "day" not in self.errors:
            self.add_error("day", _("写每月几号。"))
        if self.errors:
            return values
        values["schedule"] = {
            "": "",
            "hourly": "hourly",
            "daily": f"daily {values.get('at')}",
            "weekly": f"weekly {values.get('weekday')} {values.get('at')}",
            "monthly": f"monthly {values.get('day') or 0:02d} {values.get('at')}",
        }[every]
        return values


class SpeedForm(forms.Form):
    rows_per_s = forms.IntegerField(
        label=_("限速（行/秒）"),
        required=False,
        min_value=10,
        max_value=10_000_000,
        help_text=_("空着不限；从下一次运行起生效"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )


class LimitForm(forms.Form):
    row_cap = forms.IntegerField(
        label=_("每次返回上限（行）"),
        min_value=1,
        max_value=1000,
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    calls_per_minute = forms.IntegerField(
        label=_("每分钟次数"), min_value=1, max_value=60_000, widget=forms.NumberInput(attrs={"class": "is-short"})
    )


class AttachForm(forms.Form):
    application = forms.ModelChoiceField(
        label=_("应用"), queryset=Application.objects.none(), empty_label=_("选择应用")
    )

    def __init__(self, applications: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("forms.ModelChoiceField[Application]", self.fields["application"]).queryset = applications

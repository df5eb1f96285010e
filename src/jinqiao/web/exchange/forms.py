"""Forms of movement."""

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application, Organisation
from jinqiao.exchange.enums import (
    AlertKind,
    AlertSeverity,
    NetworkZone,
    NodeKind,
    NodeState,
    RunKind,
    RunState,
    SourceState,
    TaskState,
)
from jinqiao.exchange.models import COPY_MODES, ENGINES

ALL = [("", _("全部"))]


class DateInput(forms.DateInput):
    """A native date field; also without script."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d", attrs={"class": "is-short"})


def search_field(label: Any) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )


class OrganisationChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Organisations that stand at one side of a task; or that have anything behind `side` (`thing` is `pk`)."""

    def __init__(self, label: Any, side: str, thing: str = "exchange_task", **keywords: Any) -> None:
        found = Organisation.objects.filter(**{f"{side}__{thing}__isnull": False}).distinct().order_by("name")
        super().__init__(queryset=found, label=label, required=False, empty_label=_("全部"), **keywords)

    def label_from_instance(self, organisation: Organisation) -> str:
        return organisation.short_name


class OwnerFilter(forms.Form):
    """Of which department: asked of those who see all of them; the others see their own alone."""

    def __init__(self, *arguments: Any, sees_all: bool, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if not sees_all:
            del self.fields["organisation"]


class NodeFilter(OwnerFilter):
    q = search_field(_("名称或标识"))
    kind = forms.ChoiceField(label=_("类别"), required=False, choices=[*ALL, *NodeKind.choices])
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *NodeState.choices])
    organisation = OrganisationChoice(_("机构"), "nodes", "pk")
    field_order = ("q", "organisation", "kind", "state")


class SourceFilter(OwnerFilter):
    q = search_field(_("名称或标识"))
    engine = forms.ChoiceField(label=_("类型"), required=False, choices=[*ALL, *ENGINES])
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *SourceState.choices])
    organisation = OrganisationChoice(_("机构"), "data_sources", "pk")
    field_order = ("q", "organisation", "engine", "state")


class EntryFilter(OwnerFilter):
    q = search_field(_("目录名称或代码"))
    state = forms.ChoiceField(
        label=_("挂接"), required=False, choices=[*ALL, ("bound", _("已挂接")), ("open", _("未挂接"))]
    )
    organisation = OrganisationChoice(_("提供部门"), "entries", "live_version")
    field_order = ("q", "organisation", "state")


class SidesFilter(forms.Form):
    """Between which departments."""

    provider = OrganisationChoice(_("提供部门"), "grants_given")
    consumer = OrganisationChoice(_("需求部门"), "grants_held")


class TaskFilter(SidesFilter):
    q = search_field(_("编号、授权、目录或目标表"))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *TaskState.choices])
    mode = forms.ChoiceField(label=_("方式"), required=False, choices=[*ALL, *COPY_MODES])
    last_state = forms.ChoiceField(label=_("上次运行"), required=False, choices=[*ALL, *RunState.choices])
    alert = forms.ChoiceField(
        label=_("告警"), required=False, choices=[*ALL, ("yes", _("有告警")), ("no", _("没有告警"))]
    )
    field_order = ("q", "provider", "consumer", "mode", "state", "last_state", "alert")


class RunFilter(SidesFilter):
    q = search_field(_("编号、授权或目录名称"))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *RunState.choices])
    kind = forms.ChoiceField(label=_("类别"), required=False, choices=[*ALL, *RunKind.choices])
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())
    field_order = ("q", "provider", "consumer", "state", "kind", "since", "until")


class AlertFilter(forms.Form):
    """A department sees alerts of others too, where it is a side of the task: everybody may choose."""

    q = search_field(_("编号、节点、目录或服务"))
    organisation = OrganisationChoice(_("责任机构"), "alerts", "pk")
    status = forms.ChoiceField(
        label=_("状态"), required=False, choices=[*ALL, ("open", _("未解除")), ("closed", _("已解除"))]
    )
    kind = forms.ChoiceField(label=_("规则"), required=False, choices=[*ALL, *AlertKind.choices])
    severity = forms.ChoiceField(label=_("级别"), required=False, choices=[*ALL, *AlertSeverity.choices])
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())


class ServiceFilter(forms.Form):
    q = search_field(_("服务、授权或目录名称"))
    provider = OrganisationChoice(_("提供部门"), "grants_given", "query_service")
    consumer = OrganisationChoice(_("需求部门"), "grants_held", "query_service")
    state = forms.ChoiceField(
        label=_("状态"), required=False, choices=[*ALL, ("open", _("使用中")), ("suspended", _("已暂停"))]
    )


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


class WorkbookForm(forms.Form):
    workbook = forms.FileField(
        label=_("更正后的工作簿"),
        help_text=_("xlsx，不超过20 MB"),
        widget=forms.ClearableFileInput(attrs={"accept": ".xlsx"}),
    )


class CapForm(forms.Form):
    run_cap = forms.IntegerField(
        label=_("同时进行的运行上限"),
        min_value=1,
        max_value=64,
        help_text=_("超出的运行按优先级排队"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )


class FingerprintForm(forms.Form):
    """The fingerprint as it was read at the node's machine, typed or pasted by whoever compared it."""

    fingerprint = forms.CharField(
        label=_("节点机器上显示的密钥指纹"),
        max_length=120,
        help_text=_("登记命令显示过，fingerprint命令和日志也会显示；不从平台的页面抄，空格和大小写不论"),
        widget=forms.TextInput(attrs={"class": "is-mid code", "autocomplete": "off"}),
    )


class AttachForm(forms.Form):
    application = forms.ModelChoiceField(
        label=_("应用"), queryset=Application.objects.none(), empty_label=_("选择应用")
    )

    def __init__(self, applications: Iterable[Application], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("forms.ModelChoiceField[Application]", self.fields["application"]).queryset = Application.objects.filter(
            pk__in=[application.pk for application in applications]
        )

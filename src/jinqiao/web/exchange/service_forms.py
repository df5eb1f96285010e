"""Forms of a query service: what the provider sets, and its announced end."""

from typing import Any, cast

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.actions import ServiceSettings
from jinqiao.exchange.actions.service_settings import (
    BATCH_CAPS,
    CALLS_PER_DAY,
    CALLS_PER_MINUTE,
    ROW_CAPS,
    ROWS_PER_DAY,
    SMALLEST_COUNTS,
    VERSIONS,
    bound_items,
    open_items,
)
from jinqiao.exchange.models import QueryService
from jinqiao.kernel.contracts.policy import Hours, Operation, RoleMask
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.web.exchange.forms import DateInput

OPERATION_WORDS = {
    Operation.QUERY.value: _("单条查询"),
    Operation.BATCH.value: _("批量查询"),
    Operation.VERIFY.value: _("核验（只答是否一致）"),
    Operation.LIST.value: _("按条件列表"),
    Operation.COUNT.value: _("计数"),
}
MASK_WORDS = {
    Mask.NONE.value: _("不遮蔽"),
    Mask.IDENTITY_NUMBER.value: _("证件号码遮蔽"),
    Mask.NAME.value: _("姓名遮蔽"),
    Mask.PHONE.value: _("电话遮蔽"),
    Mask.HIDDEN.value: _("全部遮蔽"),
}
WEEKDAYS = [
    (1, _("周一")),
    (2, _("周二")),
    (3, _("周三")),
    (4, _("周四")),
    (5, _("周五")),
    (6, _("周六")),
    (7, _("周日")),
]


class TimeInput(forms.TimeInput):
    """A native time field; also without script."""

    input_type = "time"

    def __init__(self) -> None:
        super().__init__(format="%H:%M", attrs={"class": "is-short"})


def _number(label: Any, span: tuple[int, int], *, required: bool = True, hint: Any = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=span[0],
        max_value=span[1],
        required=required,
        help_text=hint,
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )


SECTIONS = (
    (_("答什么"), "operations,filter_items,case_item,end_user_required,role_masks"),
    (_("答多少"), "row_cap,batch_cap,smallest_count,calls_per_minute,calls_per_day,rows_per_day"),
    (_("何时答"), "weekdays,first,last,second_first,second_last"),
    (_("版本和标识"), "version,national_id"),
)


class ServiceForm(forms.Form):
    """Its fields in the order of SECTIONS. `wanted` is what the action takes. Only what the grant and the binding allow is offered."""

    operations = forms.MultipleChoiceField(
        label=_("开放的操作"), widget=forms.CheckboxSelectMultiple, choices=list(OPERATION_WORDS.items())
    )
    filter_items = forms.MultipleChoiceField(
        label=_("筛选项"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("列表和计数按它们筛选、排序；只列出已授权且不遮蔽的数据项"),
    )
    case_item = forms.ChoiceField(
        label=_("本案限定项"),
        required=False,
        help_text=_("选定后，只答这一项等于本次业务编号的记录：各办各案"),
    )
    end_user_required = forms.BooleanField(
        label=_("每次调用须写明经办人"), required=False, help_text=_("没有经办人的调用被拒绝")
    )
    role_masks = forms.CharField(
        label=_("按经办人角色遮蔽"),
        required=False,
        max_length=4000,
        help_text=_(
            "一行一条：角色 数据项标识 遮蔽方式，例如“窗口人员 xm 姓名遮蔽”；遮蔽方式可写证件号码遮蔽、姓名遮蔽、电话遮蔽、全部遮蔽、不遮蔽"
        ),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
    )
    row_cap = _number(_("每次返回上限（行）"), ROW_CAPS)
    batch_cap = _number(_("每批查询上限（个）"), BATCH_CAPS)
    smallest_count = _number(_("最小计数"), SMALLEST_COUNTS, hint=_("结果小于它时只答“少于”，不答数目；0为照实答"))
    calls_per_minute = _number(_("每分钟次数"), CALLS_PER_MINUTE, hint=_("全部应用合计"))
    calls_per_day = _number(_("每日次数"), CALLS_PER_DAY, required=False, hint=_("每个应用；不填为不限"))
    rows_per_day = _number(_("每日行数"), ROWS_PER_DAY, required=False, hint=_("每个应用；不填为不限"))
    weekdays = forms.TypedMultipleChoiceField(
        label=_("开放日"), coerce=int, choices=WEEKDAYS, required=False, widget=forms.CheckboxSelectMultiple
    )
    first = forms.TimeField(label=_("开放时段起"), required=False, widget=TimeInput(), help_text=_("起止都不填为全天"))
    last = forms.TimeField(label=_("开放时段止"), required=False, widget=TimeInput())
    second_first = forms.TimeField(label=_("第二时段起"), required=False, widget=TimeInput())
    second_last = forms.TimeField(label=_("第二时段止"), required=False, widget=TimeInput())
    version = _number(_("接口版本"), VERSIONS, hint=_("数据项、操作或口径有变化时加一；只增不减"))
    national_id = forms.CharField(
        label=_("国家平台服务标识"),
        required=False,
        max_length=64,
        help_text=_("国家平台签发的sid；未签发的留空"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )

    def __init__(self, service: QueryService, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.open = open_items(service)
        self.granted = {item["code"] for item in service.grant.items}
        cast("forms.MultipleChoiceField", self.fields["filter_items"]).choices = [
            (code, f"{name} {code}") for code, name in self.open.items()
        ]
        cast("forms.ChoiceField", self.fields["case_item"]).choices = [
            ("", _("不限定")),
            *((code, f"{name} {code}") for code, name in bound_items(service).items()),
        ]

    def clean_role_masks(self) -> tuple[RoleMask, ...]:
        masks = []
        words = {str(word): value for value, word in MASK_WORDS.items()} | {value: value for value in MASK_WORDS}
        for number, line in enumerate(self.cleaned_data["role_masks"].splitlines(), 1):
            if not line.strip():
                continue
            parts = line.split()
            if len(parts) != 3 or parts[2] not in words or parts[1] not in self.granted:
                raise forms.ValidationError(
                    gettext("第%(number)s行读不懂：写角色、已授权的数据项标识、遮蔽方式，用空格隔开。")
                    % {"number": number}
                )
            masks.append(RoleMask(role=parts[0], code=parts[1], mask=Mask(words[parts[2]])))
        return tuple(masks)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        spans = []
        for first, last in (("first", "last"), ("second_first", "second_last")):
            start, end = values.get(first), values.get(last)
            if (start is None) != (end is None):
                self.add_error(last, gettext("起和止一起填。"))
            elif start is not None and end is not None:
                if end <= start:
                    self.add_error(last, gettext("止须晚于起；跨零点的分成两段。"))
                spans.append((f"{start:%H:%M}", f"{end:%H:%M}"))
        days = tuple(values.get("weekdays") or ())
        if spans and not days:
            self.add_error("weekdays", gettext("至少选一天。"))
        every_day = len(days) in (0, 7)
        if not spans and not every_day:
            spans = [("00:00", "24:00")]
        values["hours"] = tuple(
            Hours(first=first, last=last, weekdays=days or tuple(range(1, 8))) for first, last in spans
        )
        return values

    @property
    def wanted(self) -> ServiceSettings:
        values = self.cleaned_data
        return ServiceSettings(
            operations=tuple(Operation(name) for name in values["operations"]),
            filter_items=tuple(values["filter_items"]),
            case_item=values["case_item"],
            end_user_required=values["end_user_required"],
            role_masks=values["role_masks"],
            row_cap=values["row_cap"],
            batch_cap=values["batch_cap"],
            smallest_count=values["smallest_count"],
            calls_per_minute=values["calls_per_minute"],
            calls_per_day=values["calls_per_day"],
            rows_per_day=values["rows_per_day"],
            hours=values["hours"],
            version=values["version"],
            national_id=values["national_id"],
        )


def initial_of(settings: ServiceSettings) -> dict[str, Any]:
    """What the form shows of settings in force. The form has two spans of one set of days, as offices keep hours."""
    spans = [(span.first, span.last) for span in settings.hours if (span.first, span.last) != ("00:00", "24:00")]
    spans = [*spans, ("", ""), ("", "")][:2]
    return {
        "operations": [operation.value for operation in settings.operations],
        "filter_items": list(settings.filter_items),
        "case_item": settings.case_item,
        "end_user_required": settings.end_user_required,
        "role_masks": "\n".join(f"{m.role} {m.code} {MASK_WORDS[m.mask.value]}" for m in settings.role_masks),
        "row_cap": settings.row_cap,
        "batch_cap": settings.batch_cap,
        "smallest_count": settings.smallest_count,
        "calls_per_minute": settings.calls_per_minute,
        "calls_per_day": settings.calls_per_day,
        "rows_per_day": settings.rows_per_day,
        "weekdays": list(settings.hours[0].weekdays) if settings.hours else list(range(1, 8)),
        "first": spans[0][0],
        "last": spans[0][1],
        "second_first": spans[1][0],
        "second_last": spans[1][1],
        "version": settings.version,
        "national_id": settings.national_id,
    }


class EndForm(forms.Form):
    ends_on = forms.DateField(
        label=_("最后服务日"),
        required=False,
        widget=DateInput(),
        help_text=_("过了这一天，网关不再答复；至少提前三十天公告。清空为收回公告"),
    )
    successor = forms.ModelChoiceField(
        label=_("替代服务"), required=False, queryset=QueryService.objects.none(), empty_label=_("没有替代服务")
    )

    def __init__(self, services: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("forms.ModelChoiceField[QueryService]", self.fields["successor"]).queryset = services

"""Forms of oversight: searching and counting calls, closing anomalies, samples, a person's right of access."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.enums import AnomalyKind, AnomalyState, ErrorOwner, SampleState
from jinqiao.exchange.queries.calls import CallsWanted
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import DOCUMENT, EXAMPLES, RECEIPT, SHED
from jinqiao.kernel.contracts.policy import Environment, Operation
from jinqiao.web.exchange.forms import ALL, DateInput, OrganisationChoice, search_field
from jinqiao.web.sharing.forms import ManyFilesField

OPERATIONS = {
    Operation.QUERY.value: _("单条查询"),
    Operation.BATCH.value: _("批量查询"),
    Operation.VERIFY.value: _("核验"),
    Operation.LIST.value: _("列表"),
    Operation.COUNT.value: _("计数"),
    EXAMPLES: _("沙箱样例"),
    DOCUMENT: _("接口文档"),
    RECEIPT: _("需求方回执"),
    SHED: _("过载拒绝"),
}
ENVIRONMENTS = {Environment.PRODUCTION.value: _("生产"), Environment.SANDBOX.value: _("沙箱")}
PAIRINGS = {
    "unconfirmed": _("需求方未确认"),
    "contradicted": _("双方记录不一致"),
    "unmatched": _("只有需求方回执"),
}
DAYS = 30


class _Sides(forms.Form):
    provider = OrganisationChoice(_("提供部门"), "grants_given", "query_service", to_field_name="credit_code")
    consumer = OrganisationChoice(_("需求部门"), "grants_held", "query_service", to_field_name="credit_code")

    def _side(self, name: str) -> str:
        chosen = self.cleaned_data.get(name)
        return chosen.credit_code if chosen else ""


class CallFilter(_Sides):
    """`hour` and `anomaly` come with links of statistics and anomalies, and stay until everything is cleared."""

    q = search_field(_("调用编号或业务编号（完整）"))
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())
    outcome = forms.ChoiceField(
        label=_("结果"), required=False, choices=[*ALL, ("ok", _("已答复")), ("refused", _("未答复"))]
    )
    owner = forms.ChoiceField(label=_("责任方"), required=False, choices=[*ALL, *ErrorOwner.choices])
    service = search_field(_("服务"))
    application = search_field(_("应用标识"))
    purpose = search_field(_("用途"))
    end_user = search_field(_("经办人"))
    grant = search_field(_("授权编号"))
    operation = forms.ChoiceField(label=_("操作"), required=False, choices=[*ALL, *OPERATIONS.items()])
    environment = forms.ChoiceField(label=_("环境"), required=False, choices=[*ALL, *ENVIRONMENTS.items()])
    pairing = forms.ChoiceField(label=_("双方记录"), required=False, choices=[*ALL, *PAIRINGS.items()])
    hour = forms.DateTimeField(required=False, widget=forms.HiddenInput())
    anomaly = forms.IntegerField(required=False, min_value=1, max_value=2**53, widget=forms.HiddenInput())
    field_order = (
        "q",
        "provider",
        "consumer",
        "outcome",
        "since",
        "until",
        "owner",
        "service",
        "application",
        "purpose",
    )
    more = "owner,service,application,purpose,end_user,grant,operation,environment,pairing"

    def wanted(self) -> CallsWanted:
        """What is asked; a value that makes no sense narrows nothing."""
        self.is_valid()
        values = self.cleaned_data
        texts = (
            "service",
            "application",
            "purpose",
            "end_user",
            "grant",
            "operation",
            "environment",
            "outcome",
            "owner",
            "pairing",
        )
        return CallsWanted(
            text=values.get("q", "").strip(),
            provider=self._side("provider"),
            consumer=self._side("consumer"),
            since=values.get("since"),
            until=values.get("until"),
            hour=values.get("hour"),
            **{name: values.get(name, "").strip() for name in texts},
        )


class StatisticsFilter(_Sides):
    """The last thirty days of production, unless something else is asked for."""

    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())
    service = search_field(_("服务"))
    application = search_field(_("应用标识"))
    purpose = search_field(_("用途"))
    environment = forms.ChoiceField(label=_("环境"), required=False, choices=list(ENVIRONMENTS.items()))
    by = forms.CharField(required=False, max_length=20, widget=forms.HiddenInput())
    field_order = ("since", "until", "provider", "consumer")
    more = "service,application,purpose,environment"

    def __init__(self, data: Any) -> None:
        """Draws what holds, also where nothing was asked."""
        given = {name: data.get(name) for name in self.base_fields if data.get(name)}
        today = moments.today()
        ends = self.base_fields["until"].clean(given["until"]) if _is_day(given.get("until")) else today
        given["until"] = ends.isoformat()
        if not _is_day(given.get("since")) or self.base_fields["since"].clean(given["since"]) > ends:
            given["since"] = (ends - timedelta(days=DAYS - 1)).isoformat()
        given.setdefault("environment", Environment.PRODUCTION.value)
        super().__init__(given)

    def wanted(self) -> CallsWanted:
        self.is_valid()
        values = self.cleaned_data
        return CallsWanted(
            provider=self._side("provider"),
            consumer=self._side("consumer"),
            since=values["since"],
            until=values["until"],
            service=values.get("service", "").strip(),
            application=values.get("application", "").strip(),
            purpose=values.get("purpose", "").strip(),
            environment=values.get("environment", Environment.PRODUCTION.value),
        )


def _is_day(text: str | None) -> bool:
    try:
        return bool(forms.DateField(required=False).clean(text or ""))
    except forms.ValidationError:
        return False


class AnomalyFilter(_Sides):
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *AnomalyState.choices])
    kind = forms.ChoiceField(label=_("规则"), required=False, choices=[*ALL, *AnomalyKind.choices])
    field_order = ("state", "kind", "provider", "consumer")

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        values = self.cleaned_data
        return {
            "state": values.get("state", ""),
            "kind": values.get("kind", ""),
            "provider": self._side("provider"),
            "consumer": self._side("consumer"),
        }


class AnomalyCloseForm(forms.Form):
    state = forms.ChoiceField(
        label=_("核实结果"),
        choices=[choice for choice in AnomalyState.choices if choice[0] != AnomalyState.OPEN],
        widget=forms.RadioSelect,
    )
    reason = forms.CharField(
        label=_("处理说明"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("向谁核实、查明了什么；确有违规的写明如何处理"),
    )


class SampleFilter(_Sides):
    q = search_field(_("调用编号或授权编号"))
    period = search_field(_("抽查期"))
    state = forms.ChoiceField(
        label=_("状态"),
        required=False,
        choices=[*ALL, *SampleState.choices, ("open", _("待说明和逾期未说明")), ("judged", _("已审核"))],
    )
    field_order = ("q", "state", "period", "provider", "consumer")

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        values = self.cleaned_data
        return {
            "text": values.get("q", "").strip(),
            "period": values.get("period", "").strip(),
            "state": values.get("state", ""),
            "provider": self._side("provider"),
            "consumer": self._side("consumer"),
        }


class JustifyForm(forms.Form):
    case_reference = forms.CharField(
        label=_("业务文号"), max_length=200, help_text=_("受理单、审批件或案卷的编号，能据此找到这件业务")
    )
    justification = forms.CharField(
        label=_("说明"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_("为哪件业务、哪个环节查询，由谁经办；不写当事人姓名和证件号码"),
    )
    papers = ManyFilesField(label=_("附件"), required=False, help_text=_("受理单等；pdf、ofd、docx、xlsx、png、jpg"))


class JudgeForm(forms.Form):
    opinion = forms.CharField(
        label=_("审核意见"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("说明不成立时必须写"),
    )


class SamplingForm(forms.Form):
    """A period of the authority's own."""

    starts_on = forms.DateField(label=_("首日"), widget=DateInput())
    ends_on = forms.DateField(label=_("末日"), widget=DateInput(), help_text=_("不早于今天：种子的摘要在此之前公布"))
    share = forms.FloatField(
        label=_("抽取比例（%）"),
        min_value=0.01,
        max_value=100,
        initial=5,
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    most = forms.IntegerField(label=_("每部门至多（笔）"), min_value=1, max_value=1000, initial=20)


class DisclosureForm(forms.Form):
    """The number is typed, used, and forgotten: it is never drawn again."""

    number = forms.CharField(
        label=_("公民身份号码"),
        max_length=20,
        widget=forms.TextInput(attrs={"class": "is-mid code", "autocomplete": "off"}),
        help_text=_("只用来算出摘要，不保存、不入日志；核对申请人身份后录入"),
    )
    reference = forms.CharField(
        label=_("查阅申请编号"), max_length=100, help_text=_("受理这份申请的编号，写入审计留痕")
    )
    since = forms.DateField(label=_("起"), required=False, widget=DateInput())
    until = forms.DateField(label=_("止"), required=False, widget=DateInput())


class UnusedFilter(_Sides):
    q = search_field(_("授权编号或目录名称"))
    mode = forms.ChoiceField(
        label=_("共享方式"), required=False, choices=[*ALL, ("interface", _("服务接口")), ("batch", _("批量交换"))]
    )
    provider = OrganisationChoice(_("提供部门"), "grants_given", "pk", to_field_name="credit_code")
    consumer = OrganisationChoice(_("需求部门"), "grants_held", "pk", to_field_name="credit_code")
    field_order = ("q", "mode", "provider", "consumer")

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        values = self.cleaned_data
        return {
            "text": values.get("q", "").strip(),
            "mode": values.get("mode", ""),
            "provider": self._side("provider"),
            "consumer": self._side("consumer"),
        }

"""Forms of packs of evidence: which gateway, which days."""

from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.models import Node
from jinqiao.exchange.queries.packs import PackState
from jinqiao.kernel import moments
from jinqiao.web.exchange.forms import ALL, DateInput

STATES = {
    PackState.WAITING: _("等待"),
    PackState.WORKING: _("正在写"),
    PackState.READY: _("可下载"),
    PackState.FAILED: _("没有写成"),
    PackState.REMOVED: _("已清除"),
}


class _GatewayChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, **keywords: Any) -> None:
        gateways = Node.objects.filter(kind=NodeKind.GATEWAY).order_by("number")
        super().__init__(queryset=gateways, label=_("网关"), **keywords)

    def label_from_instance(self, gateway: Node) -> str:
        return f"{gateway.name} {gateway.number}"


class PackFilter(forms.Form):
    gateway = _GatewayChoice(required=False, empty_label=_("全部"))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[*ALL, *STATES.items()])

    def wanted(self) -> dict[str, Any]:
        """What is asked; a value that makes no sense narrows nothing."""
        self.is_valid()
        gateway = self.cleaned_data.get("gateway")
        return {"gateway": gateway.pk if gateway else None, "state": self.cleaned_data.get("state", "")}


class PackForm(forms.Form):
    """A gateway and the days, both inclusive."""

    gateway = _GatewayChoice(empty_label=None)
    since = forms.DateField(label=_("首日"), widget=DateInput())
    until = forms.DateField(label=_("末日"), widget=DateInput(), help_text=_("首日和末日的调用都在包内"))

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        if until > moments.today():
            raise forms.ValidationError(_("末日不能晚于今天。"))
        since = self.cleaned_data.get("since")
        if since is not None and since > until:
            raise forms.ValidationError(_("末日不能早于首日。"))
        return until

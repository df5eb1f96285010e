"""Forms of alerts: where they are sent, what is watched."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.enums import AlertSeverity, ChannelKind
from jinqiao.exchange.queries.alerts import Rule, parameters_of
from jinqiao.web.exchange.alert_view import hosts_hint, parameter_label


class ChannelForm(forms.Form):
    kind = forms.ChoiceField(
        label=_("方式"), choices=ChannelKind.choices, initial=ChannelKind.MAIL, widget=forms.RadioSelect
    )
    address = forms.CharField(
        label=_("地址"),
        max_length=300,
        help_text=_("邮件写邮箱；网络回调写https地址，主机须在许可名单内"),
        widget=forms.TextInput(attrs={"class": "code"}),
    )
    least = forms.ChoiceField(
        label=_("最低级别"),
        choices=AlertSeverity.choices,
        initial=AlertSeverity.WARNING,
        help_text=_("这一级及更严重的才发送"),
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        field = self.fields["address"]
        field.help_text = f"{field.help_text}{_('；')}{hosts_hint()}"


class RuleForm(forms.Form):
    """One rule: on or off, how serious, its numbers."""

    is_on = forms.BooleanField(label=_("启用"), required=False)
    severity = forms.ChoiceField(label=_("级别"), choices=AlertSeverity.choices)

    def __init__(self, rule: Rule, data: Any = None) -> None:
        super().__init__(data, initial={"is_on": rule.is_on, "severity": rule.severity.value})
        self.known = parameters_of(rule.kind)
        for parameter in self.known:
            value = rule.number(parameter.name)
            self.fields[parameter.name] = forms.FloatField(
                label=str(parameter_label(rule.kind, parameter.name)),
                min_value=parameter.least,
                max_value=parameter.most,
                initial=int(value) if value == int(value) else value,
                help_text=_("%(least)s到%(most)s")
                % {"least": f"{parameter.least:,g}", "most": f"{parameter.most:,.0f}"},
                widget=forms.NumberInput(attrs={"class": "is-short", "step": "any"}),
            )

    def wanted(self) -> dict[str, Any]:
        """What `set_alert_rule` takes."""
        values = self.cleaned_data
        numbers = {parameter.name: values[parameter.name] for parameter in self.known}
        return {"is_on": values["is_on"], "severity": values["severity"], "parameters": numbers}

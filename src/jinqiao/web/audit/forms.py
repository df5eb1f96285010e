"""What to look for in the trail."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.audit import queries
from jinqiao.audit.models import Outcome
from jinqiao.web.audit.words import actions_named

_CODE = re.compile(r"[a-z_]+(\.[a-z_]+)*\.?")


def _date_input() -> forms.DateInput:
    return forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": "is-short"})


class EventFilter(forms.Form):
    action = forms.CharField(
        label=_("行为"),
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"list": "actions", "autocomplete": "off"}),
    )
    person = forms.CharField(label=_("行为人"), required=False, max_length=100)
    organisation = forms.CharField(label=_("机构"), required=False, max_length=200)
    text = forms.CharField(label=_("对象"), required=False, max_length=100)
    outcome = forms.ChoiceField(label=_("结果"), required=False, choices=[("", _("全部")), *Outcome.choices])
    since = forms.DateField(label=_("自"), required=False, widget=_date_input())
    until = forms.DateField(label=_("至"), required=False, widget=_date_input())
    about_type = forms.CharField(label=_("对象类型"), required=False, max_length=60)
    about_id = forms.CharField(label=_("对象标识"), required=False, max_length=64)

    def wanted(self) -> queries.Search:
        """What was asked for; fields that make no sense ask for nothing."""
        self.is_valid()
        given: dict[str, Any] = {name: value for name, value in self.cleaned_data.items() if value}
        action = given.get("action", "")
        if action and not _CODE.fullmatch(action):
            given["actions"] = actions_named(given.pop("action"))
        return queries.Search(**given)

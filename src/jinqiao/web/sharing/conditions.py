"""Row conditions as people read and type them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.catalogue.enums import ItemType
from jinqiao.catalogue.models import DataItem
from jinqiao.kernel.contracts.tables import Operator
from jinqiao.sharing.terms import Condition
from jinqiao.web.components import Text

OPERATORS: dict[str, Text] = {
    Operator.EQUAL.value: _("等于"),
    Operator.ONE_OF.value: _("属于"),
    Operator.AT_LEAST.value: _("不小于"),
    Operator.AT_MOST.value: _("不大于"),
    Operator.STARTS_WITH.value: _("开头是"),
}
_SEPARATORS = re.compile(r"[、，,；;\n]+")


class ConditionForm(forms.Form):
    """One row condition; an empty line is no condition."""

    item = forms.ChoiceField(label=_("数据项"), required=False, widget=forms.Select(attrs={"class": "select"}))
    operator = forms.ChoiceField(
        label=_("比较"),
        required=False,
        choices=list(OPERATORS.items()),
        widget=forms.Select(attrs={"class": "select"}),
    )
    values = forms.CharField(
        label=_("值"), required=False, max_length=4000, widget=forms.TextInput(attrs={"class": "input"})
    )

    def __init__(self, *arguments: Any, items: Mapping[str, DataItem], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        choices = [(item.code, item.name) for item in items.values() if item.data_type != ItemType.BLOB]
        field = self.fields["item"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 -- tells the type checker what stands above
        field.choices = [("", _("不限")), *choices]

    def condition(self) -> Condition | None:
        cleaned = self.cleaned_data
        if not cleaned.get("item"):
            return None
        text = cleaned["values"].strip()
        values = [part.strip() for part in _SEPARATORS.split(text)] if cleaned["operator"] == "in" else [text]
        return {
            "item": cleaned["item"],
            "operator": cleaned["operator"],
            "values": [value for value in values if value],
        }


ConditionFormSet = forms.formset_factory(ConditionForm, extra=3, max_num=20)


def condition_forms(
    items: Mapping[str, DataItem], data: Any = None, initial: Sequence[Condition] = ()
) -> "forms.BaseFormSet[ConditionForm]":
    """Lines to fill in: those there are, and three empty ones."""
    return ConditionFormSet(
        data,
        prefix="rows",
        form_kwargs={"items": items},
        initial=[{**condition, "values": "、".join(condition["values"])} for condition in initial],
    )


def conditions_of(lines: "forms.BaseFormSet[ConditionForm]") -> list[Condition]:
    """What was filled in; call after `is_valid`."""
    found = (line.condition() for line in lines.forms)
    return [condition for condition in found if condition is not None]


def described(conditions: Sequence[Condition], names: Mapping[str, str]) -> list[str]:
    """Each condition in words: 区划代码 属于 620302、620321."""
    return [
        f"{names.get(condition['item'], condition['item'])} {OPERATORS[condition['operator']]} "
        f"{'、'.join(condition['values'])}"
        for condition in conditions
    ]

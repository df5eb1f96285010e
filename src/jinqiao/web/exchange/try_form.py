"""The form by which a developer asks the sandbox: one for each operation, made of what the service's policy allows."""

from typing import Any, cast

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy
from jinqiao.kernel.contracts.tables import LogicalType

_KEY, _CLAIM = "by_", "claim_"
_OPERATORS = [
    ("eq", _("等于")),
    ("ge", _("不小于")),
    ("le", _("不大于")),
    ("prefix", _("开头是")),
]


class TryForm(forms.Form):
    """`question` is the body of the call. What the gateway decides is not decided here: it is tried out."""

    application = forms.ModelChoiceField(label=_("应用"), queryset=Application.objects.none(), empty_label=None)

    def __init__(
        self,
        policy: ServicePolicy,
        operation: Operation,
        applications: list[Application],
        *arguments: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.policy, self.operation = policy, operation
        choice = cast("forms.ModelChoiceField[Application]", self.fields["application"])
        choice.queryset = Application.objects.filter(pk__in=[one.pk for one in applications])
        items = {item.code: item for item in policy.grant.items}
        keys = [items[code] for code in policy.key_items if code in items]
        if operation in (Operation.QUERY, Operation.VERIFY):
            for item in keys:
                self.fields[f"{_KEY}{item.code}"] = _value_field(item)
        if operation is Operation.BATCH:
            self.fields["keys"] = forms.CharField(
                label=" ".join(f"{item.item}" for item in keys),
                max_length=20_000,
                help_text=_("一行一个对象；条件多于一项时用逗号隔开"),
                widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"}),
            )
        if operation is Operation.VERIFY:
            for item in policy.grant.items:
                if item.code not in policy.key_items:
                    self.fields[f"{_CLAIM}{item.code}"] = _value_field(item, required=False)
        if operation in (Operation.LIST, Operation.COUNT):
            self._add_filter([items[code] for code in policy.filter_items if code in items])
        if operation in (Operation.QUERY, Operation.BATCH, Operation.LIST):
            self.fields["items"] = forms.MultipleChoiceField(
                label=_("要哪些数据项"),
                choices=[(item.code, f"{item.item} {item.code}") for item in policy.grant.items],
                widget=forms.CheckboxSelectMultiple,
            )
        self._add_reason()

    def _add_filter(self, items: list[GrantedItem]) -> None:
        if not items:
            return
        self.fields["filter_item"] = forms.ChoiceField(
            label=_("筛选项"),
            required=False,
            choices=[("", _("不筛选")), *((item.code, f"{item.item} {item.code}") for item in items)],
        )
        self.fields["filter_op"] = forms.ChoiceField(label=_("比较"), required=False, choices=_OPERATORS)
        self.fields["filter_value"] = forms.CharField(
            label=_("值"), required=False, max_length=200, widget=forms.TextInput(attrs={"class": "is-mid"})
        )

    def _add_reason(self) -> None:
        grant = self.policy.grant
        self.fields["purpose"] = forms.ChoiceField(label=_("用途"), choices=[(p, p) for p in grant.purposes])
        self.fields["case_number"] = forms.CharField(
            label=_("业务编号"),
            required=grant.case_number_required or bool(self.policy.case_column),
            max_length=100,
            widget=forms.TextInput(attrs={"class": "is-mid"}),
        )
        self.fields["end_user"] = forms.CharField(
            label=_("经办人"),
            required=self.policy.end_user_required,
            max_length=100,
            widget=forms.TextInput(attrs={"class": "is-mid"}),
        )
        roles = sorted({mask.role for mask in self.policy.role_masks})
        if roles:
            self.fields["role"] = forms.ChoiceField(
                label=_("经办人角色"), required=False, choices=[("", _("不写")), *((role, role) for role in roles)]
            )

    @property
    def question(self) -> dict[str, Any]:
        """The body, in the order in which the guide has its fields."""
        values = self.cleaned_data
        items = {item.code: item for item in self.policy.grant.items}
        body: dict[str, Any] = {}
        if self.operation is Operation.BATCH:
            body["by"] = [self._key(line, items) for line in values["keys"].splitlines() if line.strip()]
        elif self.operation in (Operation.QUERY, Operation.VERIFY):
            body["by"] = self._given(_KEY, items)
        if self.operation is Operation.VERIFY:
            body["claims"] = self._given(_CLAIM, items)
        if "items" in self.fields:
            body["items"] = values["items"]
        if self.operation in (Operation.LIST, Operation.COUNT):
            code = values.get("filter_item", "")
            value = typed(values.get("filter_value", ""), items[code]) if code else ""
            body["filter"] = [{"item": code, "op": values["filter_op"], "value": value}] if code else []
        if self.operation is Operation.LIST:
            body["page"] = {"size": min(10, self.policy.row_cap)}
        body["purpose"] = values["purpose"]
        return body | {name: values[name] for name in ("case_number", "end_user", "role") if values.get(name)}

    def clean_keys(self) -> str:
        text = str(self.cleaned_data["keys"])
        wanted = len(self.policy.key_items)
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and len(line.split(",")) != wanted:
                raise forms.ValidationError(
                    gettext("第%(number)s行应有%(wanted)s个值。") % {"number": number, "wanted": wanted}
                )
        return text

    def _key(self, line: str, items: dict[str, GrantedItem]) -> dict[str, Any]:
        return {
            code: typed(text.strip(), items[code])
            for code, text in zip(self.policy.key_items, line.split(","), strict=True)
        }

    def _given(self, prefix: str, items: dict[str, GrantedItem]) -> dict[str, Any]:
        return {
            name.removeprefix(prefix): typed(value, items[name.removeprefix(prefix)])
            for name, value in self.cleaned_data.items()
            if name.startswith(prefix) and value != ""
        }


def _value_field(item: GrantedItem, *, required: bool = True) -> forms.CharField:
    return forms.CharField(
        label=f"{item.item} {item.code}",
        required=required,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "is-mid code", "autocomplete": "off"}),
    )


def typed(text: str, item: GrantedItem) -> Any:
    """The text of a field as JSON of the item's type; what does not fit goes as text, and the gateway says what is wrong."""
    if item.type is LogicalType.BOOLEAN and text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    if item.type is LogicalType.DOUBLE:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def initial_of(policy: ServicePolicy, operation: Operation, examples: dict[str, Any], person: int) -> dict[str, Any]:
    """A question that the sandbox answers, so that the first try succeeds."""
    people = examples.get("people") or []
    one = people[person % len(people)] if people else {}
    codes = [item.code for item in policy.grant.items]
    filters = examples.get("filter") or []
    initial: dict[str, Any] = {
        "items": codes,
        "purpose": policy.grant.purposes[0] if policy.grant.purposes else "",
        "case_number": one.get("case_number", "SANDBOX-0001"),
        "end_user": "1001" if policy.end_user_required else "",
        "keys": "\n".join(",".join(str(p["by"].get(code, "")) for code in policy.key_items) for p in people),
        "filter_op": "eq",
    }
    initial |= {f"{_KEY}{code}": str(value) for code, value in one.get("by", {}).items()}
    initial |= {f"{_CLAIM}{code}": str(value) for code, value in list(one.get("claims", {}).items())[:1]}
    if filters and operation in (Operation.LIST, Operation.COUNT):
        initial |= {"filter_item": filters[0]["item"], "filter_value": str(filters[0]["value"])}
    return initial

"""Forms made from the catalogues of checks and of transforms: one field for each parameter, by its type."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.kernel.catalogues import check_catalogue, transform_catalogue, wrong_parameter
from jinqiao.kernel.code_tables import code_tables
from jinqiao.kernel.contracts.exchange import CheckRule, Severity, Transform, TransformKind
from jinqiao.web.exchange.words import CHOICES, SEVERITIES, titled

Entry = Mapping[str, Any]
_UNSET = ("", _("按惯例"))


@dataclass(frozen=True, slots=True)
class Offered:
    """What parameters may name: items by code, columns of the source."""

    items: Sequence[tuple[str, str]]  # code, words
    columns: Sequence[tuple[str, str]]  # name, words


def checks_offered() -> list[tuple[str, str]]:
    """Checks that a rule may name, with what they find."""
    return [
        (name, f"{titled(entry)}：{titled(entry, 'note')}")
        for name, entry in check_catalogue().items()
        if not entry.get("implicit")
    ]


def transforms_offered() -> list[tuple[str, str]]:
    return [(name, f"{titled(entry)}：{titled(entry, 'note')}") for name, entry in transform_catalogue().items()]


class ChooseCheck(forms.Form):
    """Which check for which item; a GET form, so that it works without script."""

    check = forms.ChoiceField(label=_("检查"), choices=[])
    item = forms.ChoiceField(label=_("数据项"), choices=[])

    def __init__(self, items: Sequence[tuple[str, str]], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fields["check"].choices = checks_offered()  # type: ignore[attr-defined]
        self.fields["item"].choices = items  # type: ignore[attr-defined]


class ChooseTransform(forms.Form):
    item = forms.ChoiceField(label=_("数据项"), choices=[])
    operation = forms.ChoiceField(label=_("转换"), choices=[])

    def __init__(self, items: Sequence[tuple[str, str]], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fields["item"].choices = items  # type: ignore[attr-defined]
        self.fields["operation"].choices = transforms_offered()  # type: ignore[attr-defined]


def _field(spec: Entry, offered: Offered, *, is_needed: bool) -> forms.Field:
    kind = spec["type"]
    label: dict[str, Any] = {"label": titled(spec), "required": is_needed}
    code = forms.TextInput(attrs={"class": "is-mid code"})
    if kind == "integer":
        return forms.IntegerField(**label, widget=forms.NumberInput(attrs={"class": "is-short"}))
    if kind == "boolean":
        return forms.ChoiceField(**label, choices=[_UNSET, ("yes", _("是")), ("no", _("否"))])
    if kind in ("choice", "code_table", "item", "column"):
        named = {
            "choice": [(value, CHOICES.get(value, value)) for value in spec.get("choices", ())],
            "code_table": [(name, name) for name in sorted(code_tables())],
            "item": offered.items,
            "column": offered.columns,
        }[kind]
        first = ("", _("选择")) if is_needed else _UNSET
        return forms.ChoiceField(**label, choices=[first, *named])
    if kind == "items":
        return forms.MultipleChoiceField(**label, choices=offered.items, widget=forms.CheckboxSelectMultiple)
    if kind == "columns":
        names = "、".join(name for name, _words in offered.columns)
        return forms.CharField(
            **label, widget=code, help_text=_("列名，按次序用逗号分开。可用：%(names)s") % {"names": names}
        )
    if kind == "pairs":
        return forms.CharField(
            **label,
            help_text=_("每行一对，例如1=男；等号后空着表示空值"),
            widget=forms.Textarea(attrs={"rows": 6, "class": "code"}),
        )
    if kind in ("list", "numbers"):
        return forms.CharField(
            **label, help_text=_("每行一个"), widget=forms.Textarea(attrs={"rows": 4, "class": "code"})
        )
    return forms.CharField(**label, max_length=1000, strip=False, widget=code)


def _value(spec: Entry, text: Any) -> Any:
    """What a field says, as the parameter; None where it says nothing."""
    kind = spec["type"]
    if text is None or text == "" or text == []:
        return None
    if kind == "boolean":
        return text == "yes"
    if kind == "columns":
        return [part.strip() for part in text.replace("，", ",").replace("、", ",").split(",") if part.strip()]
    if kind in ("list", "numbers"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "pairs":
        pairs = (line.partition("=") for line in text.splitlines() if line.strip())
        return {code.strip(): value.strip() or None for code, _sign, value in pairs}
    return text


def _shown(spec: Entry, value: Any) -> Any:
    """A parameter as its field shows it."""
    kind = spec["type"]
    if kind == "boolean":
        return "yes" if value else "no"
    if kind == "columns":
        return ", ".join(value)
    if kind in ("list", "numbers"):
        return "\n".join(str(part) for part in value)
    if kind == "pairs":
        return "\n".join(f"{code}={'' if inner is None else inner}" for code, inner in value.items())
    return value


class ParameterForm(forms.Form):
    """The parameters of one entry of a catalogue, as fields `p-<name>`."""

    def __init__(
        self, entry: Entry, offered: Offered, *arguments: Any, given: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.entry = entry
        self.specs: Mapping[str, Entry] = entry.get("parameters", {})
        for name, spec in self.specs.items():
            field = _field(spec, offered, is_needed=name in entry.get("needs", ()))
            if given and name in given:
                field.initial = _shown(spec, given[name])
            self.fields[f"p-{name}"] = field

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that were given."""
        values = ((name, _value(spec, self.cleaned_data.get(f"p-{name}"))) for name, spec in self.specs.items())
        return {name: value for name, value in values if value is not None}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if not self.errors and (wrong := wrong_parameter(self.entry, self.parameters)):
            one_of = self.entry.get("one_of", ())
            told = (
                _("至少填其中一项：%(names)s。") % {"names": self._titles(one_of)}
                if wrong in one_of and (wrong not in self.parameters)
                else _("值不符合这一项的要求。")
            )
            self.add_error(f"p-{wrong}" if f"p-{wrong}" in self.fields else None, told)
        return values

    def _titles(self, names: Iterable[str]) -> str:
        return "、".join(titled(self.specs[name]) for name in names)


class CheckForm(ParameterForm):
    """One rule: parameters, what a broken row means, when the whole run ends."""

    severity = forms.ChoiceField(
        label=_("不符合时"),
        choices=list(SEVERITIES.items()),
        initial=Severity.QUARANTINE.value,
        widget=forms.RadioSelect,
    )
    stop_percent = forms.FloatField(
        label=_("终止占比（%）"),
        required=False,
        min_value=0,
        max_value=100,
        help_text=_("不符合的行超过读取行数的这一占比时，不论级别都终止运行；空着不设"),
        widget=forms.NumberInput(attrs={"class": "is-short", "step": "any"}),
    )
    stop_rows = forms.IntegerField(
        label=_("终止行数"),
        required=False,
        min_value=0,
        help_text=_("空着不设"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )

    def __init__(
        self, offered: Offered, check: str, item: str, *arguments: Any, rule: CheckRule | None = None, **keywords: Any
    ) -> None:
        self.check, self.item = check, item
        initial = {}
        if rule is not None:
            share = None if rule.stop_share is None else round(rule.stop_share * 100, 6)
            initial = {"severity": rule.severity.value, "stop_percent": share, "stop_rows": rule.stop_rows}
        super().__init__(
            check_catalogue()[check],
            offered,
            *arguments,
            given=rule.parameters if rule else None,
            initial=initial,
            **keywords,
        )
        own = ("severity", "stop_percent", "stop_rows")
        self.order_fields([*(name for name in self.fields if name not in own), *own])

    def rule(self) -> CheckRule:
        share = self.cleaned_data["stop_percent"]
        return CheckRule(
            check=self.check,
            item=self.item,
            parameters=self.parameters,
            severity=Severity(self.cleaned_data["severity"]),
            stop_share=None if share is None else share / 100,
            stop_rows=self.cleaned_data["stop_rows"],
        )


class TransformForm(ParameterForm):
    """How one item is made from columns of the source."""

    def __init__(
        self,
        offered: Offered,
        operation: str,
        item: str,
        *arguments: Any,
        transform: Transform | None = None,
        **keywords: Any,
    ) -> None:
        self.operation, self.item = operation, item
        given = transform.parameters if transform else None
        super().__init__(transform_catalogue()[operation], offered, *arguments, given=given, **keywords)

    def transform(self) -> Transform:
        if self.operation in (TransformKind.CODES.value, TransformKind.TOKEN.value):
            return Transform(kind=TransformKind(self.operation), item=self.item, parameters=self.parameters)
        parameters = {"operation": self.operation, **self.parameters}
        return Transform(kind=TransformKind.DERIVE, item=self.item, parameters=parameters)


class LimitForm(forms.Form):
    """Above which share of set-aside rows nothing is delivered."""

    percent = forms.FloatField(
        label=_("隔离上限（%）"),
        min_value=0,
        max_value=100,
        help_text=_("隔离的行超过读取行数的这一占比，整批不交付"),
        widget=forms.NumberInput(attrs={"class": "is-short", "step": "any"}),
    )

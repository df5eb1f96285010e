"""The form that binds data items to columns: one choice for each item, made from the table as its node listed it."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.catalogue.models import DataItem
from jinqiao.exchange.models import Binding, DataSource
from jinqiao.exchange.queries.terms import fits
from jinqiao.kernel.contracts.tables import Column, LogicalType, TableSchema

_WATERMARKS = frozenset({LogicalType.INTEGER, LogicalType.DATE, LogicalType.DATETIME})


class TableForm(forms.Form):
    """Which table of which source; a GET form, so that it works without script."""

    source = forms.ModelChoiceField(label=_("数据源"), queryset=DataSource.objects.none(), empty_label=_("选择数据源"))
    table = forms.CharField(
        label=_("表"),
        max_length=200,
        required=False,
        help_text=_("先选数据源，再从列表里选表"),
        widget=forms.Select(attrs={"class": "code"}),
    )

    def __init__(self, sources: Any, tables: Sequence[str], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fields["source"].queryset = sources  # type: ignore[attr-defined]
        self.fields["table"].widget.choices = [("", _("选择表")), *((name, name) for name in tables)]


def column_label(column: Column) -> str:
    words = [column.name, column.native_type or column.type.value]
    return " · ".join([*words, column.comment]) if column.comment else " · ".join(words)


def suggestion(item: DataItem, columns: Sequence[Column]) -> str:
    """The column of the same name, else the one whose comment is the item's name, if its type fits."""
    for column in columns:
        if column.name.lower() == item.code.lower() and fits(item.data_type, column.type):
            return column.name
    for column in columns:
        if column.comment.strip() == item.name and fits(item.data_type, column.type):
            return column.name
    return ""


class BindForm(forms.Form):
    """`column-<item code>` for each item, then keys, watermark and lookup items."""

    def __init__(
        self, items: Sequence[DataItem], table: TableSchema, binding: Binding | None, *arguments: Any, **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.items = list(items)
        there = {column.name for column in table.columns}
        kept = binding.columns if binding is not None and binding.table == table.name else {}
        bound = {code: name for code, name in kept.items() if name in there}  # a column may have been renamed since
        every = [(column.name, column_label(column)) for column in table.columns]
        for item in self.items:
            fitting = [(c.name, column_label(c)) for c in table.columns if fits(item.data_type, c.type)]
            self.fields[f"column-{item.code}"] = forms.ChoiceField(
                label=item.name,
                required=False,
                choices=[("", _("不挂接")), *fitting],
                initial=bound.get(item.code) or suggestion(item, table.columns),
                help_text=f"{item.code} · {item.get_data_type_display()}",
                widget=forms.Select(attrs={"class": "is-mid code"}),
            )
        primary = [column.name for column in table.columns if column.primary_key]
        self.fields["key_columns"] = forms.MultipleChoiceField(
            label=_("主键列"),
            required=False,
            choices=every,
            initial=binding.key_columns if bound and binding else primary,
            help_text=_("合起来能认出一行的列；增量和按键合并用它"),
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["watermark_column"] = forms.ChoiceField(
            label=_("水位列"),
            required=False,
            choices=[
                ("", _("没有，只能全量")),
                *((c.name, column_label(c)) for c in table.columns if c.type in _WATERMARKS),
            ],
            initial=binding.watermark_column if bound and binding else "",
            help_text=_("每次改动都会变大的时间或序号，例如更新时间"),
            widget=forms.Select(attrs={"class": "is-mid code"}),
        )
        self.fields["lookup_items"] = forms.MultipleChoiceField(
            label=_("查询条件"),
            required=False,
            choices=[(item.code, f"{item.name}（{item.code}）") for item in self.items],
            initial=binding.lookup_items if bound and binding else [],
            help_text=_("接口查询时必须全部给出、逐字相等的数据项，例如公民身份号码"),
            widget=forms.CheckboxSelectMultiple,
        )

    def values(self) -> dict[str, Any]:
        """What `bind_entry` takes."""
        cleaned = self.cleaned_data
        return {
            "columns": {
                item.code: cleaned[f"column-{item.code}"] for item in self.items if cleaned[f"column-{item.code}"]
            },
            "key_columns": cleaned["key_columns"],
            "watermark_column": cleaned["watermark_column"],
            "lookup_items": cleaned["lookup_items"],
        }

    @property
    def item_names(self) -> str:
        """For `form_fields`."""
        return ",".join(f"column-{item.code}" for item in self.items)

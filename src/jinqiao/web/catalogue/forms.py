"""Forms of the catalogue. What is right is decided by the actions; forms only convert."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.catalogue.completeness import CORE_FIELDS, GRADING_FIELDS
from jinqiao.catalogue.enums import (
    PersonalInformation,
    SharingCategory,
    SharingMeans,
    UpdateCycle,
    VersionState,
)
from jinqiao.catalogue.fields import ENTRY_FIELDS, ITEM_FIELDS
from jinqiao.catalogue.models import ClassificationNode, DataItem, EntryVersion
from jinqiao.web.components import Text

BLANK: list[tuple[str, Text]] = [("", _("未选"))]
DETAIL_LEVEL = 4
"""Entries hang at classes of this level or below (细目)."""


def _text_area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows})


def _of_model(model: type[EntryVersion] | type[DataItem], name: str, **options: Any) -> forms.Field:
    """A field that takes what the model's holds, never required: a draft may be incomplete."""
    field: Any = model._meta.get_field(name)
    made: forms.Field = field.formfield(required=False, **options)
    if isinstance(made, forms.ChoiceField):
        made.choices = [
            (value, label if value else _("未选"))
            for value, label in field.get_choices(include_blank=field.blank or not field.has_default())
        ]
    return made


if TYPE_CHECKING:  # generic for the type checker only
    _ClassChoice = forms.ModelChoiceField[ClassificationNode]
else:
    _ClassChoice = forms.ModelChoiceField


class ClassField(_ClassChoice):
    def __init__(self, **options: Any) -> None:
        found = ClassificationNode.objects.filter(level__gte=DETAIL_LEVEL).select_related("parent")
        super().__init__(found, label=_("信息资源分类"), empty_label=_("未选"), **options)

    def label_from_instance(self, node: Any) -> str:
        return f"{node.code} {node.parent.name}／{node.name}" if node.parent else str(node)


class EntryForm(forms.Form):
    """What the provider says about an entry: core fields of the guide, grading and assessments of 条例."""

    marks_optional = False  # a draft may leave all of them empty; what is missing is told at submission
    use_required_attribute = False  # a draft is saved with what there is

    node = ClassField(help_text=_("选到最末一级；代码发布时由平台按它编制"))
    released_on = _of_model(
        EntryVersion, "released_on", widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": "is-short"}),
        help_text=_("没有发布过的不填，发布时平台代填"),
    )  # fmt: skip

    def __init__(self, *arguments: Any, class_is_fixed: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in ENTRY_FIELDS:
            if name not in self.fields:
                self.fields[name] = _of_model(EntryVersion, name, **_OPTIONS.get(name, {}))
        if class_is_fixed:
            del self.fields["node"]

    def show_needed(self) -> None:
        """Take the mark 选填 off what a submission needs. Called when the form is drawn: a draft may lack it."""
        show_needed(self, NEEDED)

    def values(self) -> dict[str, Any]:
        """Fields of the version as cleaned."""
        return {name: self.cleaned_data[name] for name in ENTRY_FIELDS}


NEEDED: tuple[str, ...] = ("node", *CORE_FIELDS, *GRADING_FIELDS, "means_class", "means")


def show_needed(form: forms.Form, names: Iterable[str]) -> None:
    for name in names:
        if name in form.fields:
            form.fields[name].required = True


_OPTIONS: Mapping[str, dict[str, Any]] = {
    "name": {"help_text": _("写数据本身，不写系统名，例如“婚姻登记信息”")},
    "abstract": {"widget": _text_area(3)},
    "format_type": {
        "widget": forms.TextInput(attrs={"list": "format-types", "class": "is-short"}),
        "help_text": _("与格式分类相配，例如数据库配oracle、mysql、KingbaseES，电子文件配pdf、OFD"),
    },
    "format_note": {"help_text": _("格式类型是“其他”或自描述格式时写明")},
    "sharing_condition": {"widget": _text_area(2), "help_text": _("有条件共享写明使用用途和范围")},
    "refusal_basis": {"widget": _text_area(2), "help_text": _("不予共享写明法律、行政法规或国务院决定的名称和条款")},
    "open_condition": {"widget": _text_area(2)},
    "related_codes": {"help_text": _("同一资源在别的分类下的代码，多个用顿号隔开")},
    "data_class": {"help_text": _("按本部门数据分类目录")},
    "secrecy_risk_conclusion": {"widget": _text_area(2)},
    "personal_information_conclusion": {"widget": _text_area(2)},
    **{
        name: {"widget": forms.TextInput(attrs={"inputmode": "decimal", "class": "is-short"})}
        for name in (
            "volume_gb",
            "records_10k",
            "shared_volume_gb",
            "shared_records_10k",
            "open_volume_gb",
            "open_records_10k",
        )
    },
}

SECTIONS: tuple[tuple[Text, Text, tuple[str, ...]], ...] = (
    (
        _("是什么数据"),
        "",
        ("node", "name", "provider_section", "abstract", "format_class", "format_type", "format_note"),
    ),
    (
        _("共享与开放"),
        _("条例第十四、十五条"),
        ("sharing_category", "sharing_condition", "refusal_basis", "means_class", "means", "is_open", "open_condition"),
    ),
    (_("更新与关联"), "", ("update_cycle", "released_on", "related_codes")),
    (
        _("分类分级与评估"),
        _("条例第十三条"),
        (
            "data_class",
            "data_level",
            "personal_information",
            "secrecy_risk_assessed",
            "secrecy_risk_conclusion",
            "personal_information_assessed",
            "personal_information_conclusion",
        ),
    ),
    (
        _("信息资源大普查"),
        _("没有或不清楚的可以不填"),
        ("volume_gb", "records_10k", "shared_volume_gb", "shared_records_10k", "open_volume_gb", "open_records_10k"),
    ),
)
"""Sections of the form: heading, note, fields."""


class ItemForm(forms.Form):
    """One data item; a row without a name is left out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in ITEM_FIELDS:
            widget = {} if name not in _ITEM_WIDGETS else {"widget": _ITEM_WIDGETS[name]()}
            self.fields[name] = _of_model(DataItem, name, **widget)
        for field in self.fields.values():
            field.widget.attrs.setdefault("aria-label", str(field.label))

    @property
    def is_empty(self) -> bool:
        """Nothing was entered; a choice that stands at its default says nothing."""
        said = ("name", "code", "data_type", "length", "scale", "code_table", "description")
        return not any(self.data.get(self.add_prefix(name), "").strip() for name in said)


_ITEM_WIDGETS: Mapping[str, Any] = {
    "length": lambda: forms.TextInput(attrs={"inputmode": "numeric", "size": 5}),
    "scale": lambda: forms.TextInput(attrs={"inputmode": "numeric", "size": 3}),
    "code": lambda: forms.TextInput(attrs={"class": "code", "size": 12}),
    "code_table": lambda: forms.TextInput(attrs={"size": 8}),
}


ItemForms = forms.formset_factory(ItemForm, extra=0, max_num=1000, validate_max=True)


def item_values(items: Sequence[ItemForm]) -> list[dict[str, Any]]:
    """Cleaned values of the rows that hold anything."""
    return [{name: item.cleaned_data.get(name) for name in ITEM_FIELDS} for item in items]


class ReviewForm(forms.Form):
    opinion = forms.CharField(
        label=_("意见"), required=False, max_length=2000, widget=_text_area(3), help_text=_("退回时必填，写明改什么")
    )


class HeadForm(ReviewForm):
    """The head's signature with both assessments (条例第十三条)."""

    marks_optional = False  # returning needs none of them, signing needs both conclusions
    use_required_attribute = False  # returning needs none of them
    needed = ("secrecy_risk_conclusion", "personal_information", "personal_information_conclusion")

    secrecy_risk_conclusion = forms.CharField(
        label=_("保密风险评估结论"), required=False, max_length=4000, widget=_text_area(2)
    )
    personal_information = forms.ChoiceField(
        label=_("个人信息"), required=False, choices=[*BLANK, *PersonalInformation.choices]
    )
    personal_information_conclusion = forms.CharField(
        label=_("个人信息保护影响评估结论"), required=False, max_length=4000, widget=_text_area(2)
    )
    field_order = ("secrecy_risk_conclusion", "personal_information", "personal_information_conclusion", "opinion")


class ReviseForm(forms.Form):
    changed_on = forms.DateField(
        label=_("法律、国务院决定或职能变化的日期"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": "is-short"}),
        help_text=_("因此更新的填写，从这天起计更新时限（条例第十七条）；其他修改不填"),
    )


class WithdrawForm(forms.Form):
    reason = forms.CharField(label=_("原因"), max_length=2000, widget=_text_area(3))


class WorkbookForm(forms.Form):
    file = forms.FileField(
        label=_("工作簿"),
        help_text=_("xlsx，不超过20 MB"),
        widget=forms.ClearableFileInput(attrs={"accept": ".xlsx"}),
    )
    node = ClassField(required=False, help_text=_("表里“关联及类目名称”空着的目录归到这一类"))


class ClassificationForm(forms.Form):
    file = forms.FileField(
        label=_("分类表"),
        help_text=_("CSV或xlsx，列为code、name、parent_code（或代码、名称、上级代码）"),
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.xlsx"}),
    )


class MineFilter(forms.Form):
    q = forms.CharField(label=_("名称或代码"), required=False, max_length=100)
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[("", _("全部")), *VersionState.choices])


FACETS: tuple[tuple[str, Text, Any], ...] = (
    ("category", _("共享类型"), SharingCategory),
    ("provider", _("提供部门"), None),
    ("means", _("共享方式"), SharingMeans),
    ("cycle", _("更新周期"), UpdateCycle),
    ("node", _("分类"), None),
)
"""Facets of the search in the order of the page; the parameter's name, its heading, the values it may take."""

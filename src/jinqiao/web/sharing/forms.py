"""Forms of requests, replies and grants. What is right is decided by the actions; forms only convert."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.files.base import File
from django.utils.translation import gettext_lazy as _

from jinqiao.catalogue.models import DataItem
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.kernel.rulesets import RuleSet
from jinqiao.sharing.enums import GrantState, RequestState
from jinqiao.sharing.models import SHARING_MODES, SharingRequest
from jinqiao.sharing.terms import TEXT_TYPES
from jinqiao.web.components import Text
from jinqiao.web.formats import is_english

MASKS: dict[str, Text] = {
    Mask.NONE.value: _("原样"),
    Mask.IDENTITY_NUMBER.value: _("遮蔽证件号码中段"),
    Mask.NAME.value: _("姓名只留姓"),
    Mask.PHONE.value: _("遮蔽电话中段"),
    Mask.HIDDEN.value: _("全部遮蔽"),
}


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """Any number of files, also none."""

    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> "list[File[bytes]]":
        files = data if isinstance(data, list | tuple) else [data]
        return [super(ManyFilesField, self).clean(file, initial) for file in files if file]


def _day_input() -> forms.DateInput:
    return forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": "is-short"})


class RequestForm(forms.Form):
    """What a request states: 政务数据共享条例 第二十条. A draft may leave texts empty; one that is submitted may not."""

    use_required_attribute = False

    items = forms.MultipleChoiceField(
        label=_("数据项"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("没有选择数据项。条例第二十条。至少选择一个履职所需的数据项。")},
    )
    basis = forms.CharField(
        label=_("使用依据"),
        error_messages={"required": _("没有写明使用依据。条例第二十条。写明法律法规的名称和条款，或权责清单的事项。")},
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("法律法规的名称和条款，或权责清单的事项"),
    )
    scenario = forms.CharField(
        label=_("使用场景"),
        error_messages={"required": _("没有写明使用场景。条例第二十条。写明办哪件事、哪一步要用。")},
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("办哪件事、哪一步要用，办事人因此少交什么"),
    )
    scope = forms.CharField(
        label=_("使用范围"),
        error_messages={"required": _("没有写明使用范围。条例第二十条。写明哪个科室、哪个系统使用。")},
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("哪个科室、哪个系统、多少人使用"),
    )
    mode = forms.ChoiceField(label=_("共享方式"), choices=SHARING_MODES, widget=forms.RadioSelect)
    purposes = forms.CharField(
        label=_("用途"),
        error_messages={"required": _("没有写明用途。条例第二十五条。一行写一个业务事项的名称。")},
        max_length=2200,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("一行一个，每次查询从中选择；写业务事项的名称"),
    )
    case_number_required = forms.BooleanField(
        label=_("查询须有业务编号"), required=False, initial=True, help_text=_("含敏感个人信息的查询接口必须勾选")
    )
    row_scope = forms.CharField(
        label=_("数据范围"),
        required=False,
        max_length=500,
        widget=forms.TextInput,
        help_text=_("用一句话写明要哪些行，再在下面写成条件"),
    )
    use_from = forms.DateField(label=_("使用起"), widget=_day_input())
    use_until = forms.DateField(label=_("使用止"), widget=_day_input())
    papers = ManyFilesField(
        label=_("附件"), required=False, help_text=_("依据文件、权责清单等；pdf、ofd、docx、xlsx、png、jpg")
    )

    def __init__(self, *arguments: Any, known: Mapping[str, DataItem], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _offer(self, "items", [(item.code, item.name) for item in known.values()])
        if self.is_bound and self.data.get("then") != "submit":
            for name in ("basis", "scenario", "scope", "purposes"):
                self.fields[name].required = False

    def clean_purposes(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["purposes"].splitlines() if line.strip()]


def request_initial(request: SharingRequest) -> dict[str, Any]:
    """What the form shows of a draft."""
    names = (
        "items",
        "basis",
        "scenario",
        "scope",
        "mode",
        "case_number_required",
        "row_scope",
        "use_from",
        "use_until",
    )
    return {**{name: getattr(request, name) for name in names}, "purposes": "\n".join(request.purposes)}


AGREE, ASK, REFUSE = "agree", "ask", "refuse"


class ReplyForm(forms.Form):
    """The reply: agree (wholly or in part), ask for papers once, or refuse by an article."""

    reply = forms.ChoiceField(label=_("答复"), widget=forms.RadioSelect, initial=AGREE)
    items = forms.MultipleChoiceField(label=_("同意的数据项"), required=False, widget=forms.CheckboxSelectMultiple)
    valid_until = forms.DateField(
        label=_("授权至"), required=False, widget=_day_input(), help_text=_("不填则到申请的使用止日")
    )
    missing = forms.CharField(
        label=_("须补正的材料"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("只能要求一次，须列全所缺（条例第二十一条）"),
    )
    article = forms.ChoiceField(
        label=_("不同意的依据"), required=False, help_text=_("自设条件不是依据（条例第十五条）")
    )
    reason = forms.CharField(
        label=_("答复意见"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("不同意时必须写明理由"),
    )

    def __init__(
        self,
        *arguments: Any,
        request: SharingRequest,
        known: Mapping[str, DataItem],
        rule_set: RuleSet,
        masks: Mapping[str, str],
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        replies = [(AGREE, _("同意（可只同意一部分数据项）")), (REFUSE, _("不同意"))]
        if request.papers_asked_at is None:
            replies.insert(1, (ASK, _("一次性告知补正")))
        _offer(self, "reply", replies)
        _offer(self, "items", [(code, known[code].name) for code in request.items if code in known])
        articles = [
            (
                article.key,
                f"{article.clause_en}: {article.title_en}" if is_english() else f"{article.clause}：{article.title}",
            )
            for article in rule_set.articles.values()
        ]
        _offer(self, "article", [("", _("选择条款")), *articles])
        self.mask_names: dict[str, str] = {}
        for code in request.items:
            if code in known and known[code].data_type in TEXT_TYPES:
                name = f"mask_{code}"
                self.fields[name] = forms.ChoiceField(
                    label=_("遮蔽"),
                    required=False,
                    choices=list(MASKS.items()),
                    initial=masks.get(code, "none"),
                    widget=forms.Select(attrs={"class": "select"}),
                )
                self.mask_names[code] = name

    def masks(self) -> dict[str, str]:
        """Masks of the items agreed to."""
        chosen = self.cleaned_data["items"]
        return {code: self.cleaned_data[name] or "none" for code, name in self.mask_names.items() if code in chosen}


class ChangeForm(forms.Form):
    """Narrower terms of a grant."""

    items = forms.MultipleChoiceField(label=_("保留的数据项"), widget=forms.CheckboxSelectMultiple)
    valid_until = forms.DateField(label=_("授权至"), widget=_day_input())
    reason = forms.CharField(
        label=_("理由"), max_length=500, widget=forms.Textarea(attrs={"rows": 3}), help_text=_("需求部门会看到")
    )

    def __init__(self, *arguments: Any, granted: Sequence[Mapping[str, Any]], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _offer(self, "items", [(item["code"], item["name"]) for item in granted])
        self.mask_names: dict[str, str] = {}
        for item in granted:
            if item["data_type"] in TEXT_TYPES:
                name = f"mask_{item['code']}"
                offered = [(mask, label) for mask, label in MASKS.items() if mask != "none" or item["mask"] == "none"]
                self.fields[name] = forms.ChoiceField(
                    label=_("遮蔽"),
                    required=False,
                    choices=offered,
                    initial=item["mask"],
                    widget=forms.Select(attrs={"class": "select"}),
                )
                self.mask_names[item["code"]] = name

    def masks(self) -> dict[str, str]:
        chosen = self.cleaned_data["items"]
        return {
            code: self.cleaned_data[name]
            for code, name in self.mask_names.items()
            if code in chosen and self.cleaned_data[name]
        }


class OpinionForm(forms.Form):
    """A head's yes or no with an opinion; the button pressed says which."""

    opinion = forms.CharField(
        label=_("意见"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("退回时必须写明"),
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("理由"), max_length=500, widget=forms.Textarea(attrs={"rows": 3}), help_text=_("对方和主管部门会看到")
    )


class PapersForm(forms.Form):
    """Papers handed in after they were asked for."""

    note = forms.CharField(
        label=_("补正说明"),
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("逐项说明补了什么"),
    )
    papers = ManyFilesField(label=_("附件"), required=False, help_text=_("pdf、ofd、docx、xlsx、png、jpg"))


class ExtensionForm(forms.Form):
    days = forms.IntegerField(label=_("延长工作日"), min_value=1, widget=forms.NumberInput(attrs={"class": "is-short"}))
    reason = forms.CharField(label=_("理由"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))


class RequestFilter(forms.Form):
    q = forms.CharField(label=_("编号、名称或部门"), required=False, widget=forms.TextInput(attrs={"type": "search"}))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[("", _("全部")), *RequestState.choices])
    mode = forms.ChoiceField(label=_("共享方式"), required=False, choices=[("", _("全部")), *SHARING_MODES])


class GrantFilter(forms.Form):
    q = forms.CharField(label=_("编号、名称或部门"), required=False, widget=forms.TextInput(attrs={"type": "search"}))
    state = forms.ChoiceField(label=_("状态"), required=False, choices=[("", _("全部")), *GrantState.choices])
    mode = forms.ChoiceField(label=_("共享方式"), required=False, choices=[("", _("全部")), *SHARING_MODES])


def _offer(form: forms.Form, name: str, choices: Sequence[tuple[str, Text]]) -> None:
    field = form.fields[name]
    if isinstance(field, forms.ChoiceField):
        field.choices = choices

"""Forms of organisations, people, posts, applications and the calendar."""

from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts import queries
from jinqiao.accounts.enums import OrganisationKind, RegionLevel, Role
from jinqiao.accounts.models import Organisation, Person, Region, Section
from jinqiao.kernel import moments
from jinqiao.workflow.notices import read_notice

_ALL = [("", _("全部"))]


class DateInput(forms.DateInput):
    """A native date field; also without script."""

    input_type = "date"

    def __init__(self, **keywords: Any) -> None:
        super().__init__(format="%Y-%m-%d", attrs={"class": "is-short"}, **keywords)


class OrganisationChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Organisations in use, by their full names."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(queryset=Organisation.objects.filter(is_active=True), **keywords)

    def label_from_instance(self, obj: Organisation) -> str:
        return obj.name


class PersonChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    def label_from_instance(self, obj: Person) -> str:
        return f"{obj.name} ({obj.username})"


class SectionChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, **keywords: Any) -> None:
        super().__init__(queryset=Section.objects.select_related("organisation"), **keywords)

    def label_from_instance(self, obj: Section) -> str:
        return f"{obj.organisation.short_name} · {obj.name}"


class OrganisationFilter(forms.Form):
    q = forms.CharField(
        label=_("名称或信用代码"), required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )
    state = forms.ChoiceField(
        label=_("状态"), required=False, choices=[*_ALL, ("active", _("在用")), ("closed", _("已停用"))]
    )


class RegionForm(forms.Form):
    code = forms.CharField(
        label=_("区划代码"),
        max_length=12,
        help_text=_("县级以上6位，乡镇街道9位，村居12位（GB/T 2260、GB/T 10114）"),
        widget=forms.TextInput(attrs={"class": "is-mid code", "inputmode": "numeric"}),
    )
    name = forms.CharField(label=_("名称"), max_length=100)
    level = forms.ChoiceField(label=_("层级"), choices=RegionLevel.choices)
    parent = forms.ModelChoiceField(
        label=_("上级"), queryset=Region.objects.all(), required=False, empty_label=_("没有上级")
    )

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip()
        if not code.isascii() or not code.isdigit() or len(code) not in (6, 9, 12):
            raise forms.ValidationError(_("区划代码是6、9或12位数字。"))
        return code


class OrganisationFields(forms.Form):
    """What describes an organisation and may change."""

    name = forms.CharField(label=_("全称"), max_length=200)
    short_name = forms.CharField(label=_("简称"), max_length=60, help_text=_("列表和待办中用，例如市教育局"))
    kind = forms.ChoiceField(label=_("类别"), choices=OrganisationKind.choices)
    parent = OrganisationChoice(label=_("上级机构"), required=False, empty_label=_("没有上级"))
    is_authority = forms.BooleanField(
        label=_("是政务数据共享主管部门"), required=False, help_text=_("一个区划只有一个")
    )
    position = forms.IntegerField(
        label=_("次序"),
        min_value=0,
        max_value=100_000,
        initial=0,
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )


class OrganisationForm(OrganisationFields):
    credit_code = forms.CharField(
        label=_("统一社会信用代码"),
        max_length=40,
        help_text=_("18位，最后一位是校验码（GB 32100）"),
        widget=forms.TextInput(attrs={"class": "is-mid code", "autocapitalize": "characters"}),
    )
    region = forms.ModelChoiceField(label=_("所在区划"), queryset=Region.objects.all(), empty_label=_("选择区划"))

    field_order = ("credit_code", "name", "short_name", "kind", "region", "parent", "is_authority", "position")


class SectionForm(forms.Form):
    name = forms.CharField(label=_("科室名称"), max_length=100)


class PeopleFilter(forms.Form):
    q = forms.CharField(
        label=_("姓名或账号"), required=False, max_length=60, widget=forms.TextInput(attrs={"type": "search"})
    )
    organisation = OrganisationChoice(label=_("机构"), required=False, empty_label=_("全部"))
    role = forms.ChoiceField(label=_("角色"), required=False, choices=[*_ALL, *Role.choices])
    state = forms.ChoiceField(
        label=_("账号"), required=False, choices=[*_ALL, ("active", _("可登录")), ("ended", _("已停用或过期"))]
    )


class PersonFields(forms.Form):
    name = forms.CharField(label=_("姓名"), max_length=60)
    mobile = forms.CharField(
        label=_("手机"),
        max_length=20,
        required=False,
        widget=forms.TextInput(attrs={"type": "tel", "class": "is-mid"}),
    )
    employer = forms.CharField(
        label=_("外包单位"), max_length=200, required=False, help_text=_("本机构在编人员不填；外包人员写合同单位")
    )
    valid_until = forms.DateField(
        label=_("有效期至"),
        required=False,
        widget=DateInput(),
        help_text=_("外包人员必填，按合同止期（条例第三十六条）"),
    )


class PersonForm(PersonFields):
    username = forms.CharField(
        label=_("平台账号"),
        max_length=60,
        help_text=_("3至60个字母、数字、点、连字符或下划线，例如 li.na"),
        widget=forms.TextInput(attrs={"class": "is-mid code", "autocapitalize": "none", "autocomplete": "off"}),
    )

    field_order = ("username", "name", "mobile", "employer", "valid_until")


class AppointForm(forms.Form):
    organisation = OrganisationChoice(label=_("机构"), empty_label=_("选择机构"))
    role = forms.ChoiceField(label=_("角色"), choices=[("", _("选择角色")), *Role.choices])
    section = SectionChoice(label=_("科室"), required=False, empty_label=_("不分科室"))
    starts_on = forms.DateField(label=_("任职起"), widget=DateInput())
    ends_on = forms.DateField(
        label=_("任职止"), required=False, widget=DateInput(), help_text=_("从这一天起不再任职；长期任职的留空")
    )

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fields["starts_on"].initial = moments.today


class ApplicationFilter(forms.Form):
    q = forms.CharField(
        label=_("名称或标识"), required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )
    state = forms.ChoiceField(
        label=_("状态"),
        required=False,
        choices=[*_ALL, ("active", _("使用中")), ("suspended", _("已暂停")), ("retired", _("已停用"))],
    )


class ApplicationForm(forms.Form):
    name = forms.CharField(label=_("应用名称"), max_length=100, help_text=_("例如“不动产登记系统”"))
    contact = PersonChoice(
        label=_("联系人"),
        queryset=Person.objects.none(),
        empty_label=_("选择联系人"),
        help_text=_("本机构在任人员；密钥由联系人领取"),
    )

    def __init__(self, organisation: Organisation, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("PersonChoice", self.fields["contact"]).queryset = queries.people(organisation=organisation)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class AccessForm(forms.Form):
    """From where and by which certificates an application may call."""

    addresses = forms.CharField(
        label=_("允许的来源网段"),
        required=False,
        max_length=4000,
        help_text=_("一行一个，例如10.8.0.0/16；不填为不限"),
        widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"}),
    )
    certificates = forms.CharField(
        label=_("客户端证书指纹"),
        required=False,
        max_length=6000,
        help_text=_("SHA-256，一行一个；不填为不要求证书。由反向代理核验证书后转给网关"),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
    )
    national_id = forms.CharField(
        label=_("国家平台请求方标识"),
        required=False,
        max_length=64,
        help_text=_("国家平台签发的rid；未签发的留空"),
        widget=forms.TextInput(attrs={"class": "is-mid code"}),
    )

    def clean_addresses(self) -> list[str]:
        return _lines(self.cleaned_data["addresses"])

    def clean_certificates(self) -> list[str]:
        return _lines(self.cleaned_data["certificates"])


class _OverlapForm(forms.Form):
    """Which gateway a key is for, and which earlier key it takes the place of."""

    gateway: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(
        label=_("查询网关"), queryset=None, empty_label=_("选择网关"), help_text=_("密钥只在这个网关上有效")
    )
    replaces: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(
        label=_("替换哪把密钥"),
        queryset=None,
        required=False,
        empty_label=_("不替换"),
        help_text=_("新密钥立即可用，旧密钥用到下面的时间为止，其间两把都有效"),
    )
    until = forms.DateTimeField(
        label=_("旧密钥用到"),
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "class": "is-mid"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, gateways: Any, keys: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cast("forms.ModelChoiceField[Any]", self.fields["gateway"]).queryset = gateways
        cast("forms.ModelChoiceField[Any]", self.fields["replaces"]).queryset = keys

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("replaces") is not None and values.get("until") is None and "until" not in self.errors:
            self.add_error("until", _("写明旧密钥用到什么时候。"))
        return values


class KeyForm(_OverlapForm):
    algorithm = forms.ChoiceField(
        label=_("算法"),
        choices=[("hmac-sha256", "hmac-sha256"), ("hmac-sm3", _("hmac-sm3（国密）"))],
        widget=forms.RadioSelect,
        help_text=_("签名和内容摘要用同一套算法"),
    )
    field_order = ("gateway", "algorithm", "replaces", "until")


class PublicKeyForm(_OverlapForm):
    algorithm = forms.ChoiceField(
        label=_("算法"),
        choices=[("ed25519", "Ed25519"), ("sm2-sm3", _("SM2（国密）"))],
        widget=forms.RadioSelect,
    )
    public_key = forms.CharField(
        label=_("公钥"),
        max_length=2000,
        help_text=_("PEM全文，或十六进制；私钥只留在您的应用里，不要贴到这里"),
        widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"}),
    )
    challenge = forms.CharField(widget=forms.HiddenInput, max_length=400)
    signature = forms.CharField(
        label=_("对挑战串的签名"),
        max_length=1000,
        help_text=_("Base64或十六进制"),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
    )
    field_order = ("gateway", "algorithm", "public_key", "challenge", "signature", "replaces", "until")


class CalendarForm(forms.Form):
    """A year's notice, pasted. `days` are read; `lines` name what could not be."""

    year = forms.IntegerField(
        label=_("年份"), min_value=2000, max_value=2100, widget=forms.NumberInput(attrs={"class": "is-short"})
    )
    notice = forms.CharField(label=_("通知标题或文号"), max_length=100)
    text = forms.CharField(
        label=_("放假与调休日"),
        max_length=20_000,
        help_text=_("一行写一天或一段，例如“2027-02-05至2027-02-11 休 春节”“2027-02-06 班 春节”"),
        widget=forms.Textarea(attrs={"class": "is-tall code", "rows": 14, "spellcheck": "false"}),
    )
    replace = forms.BooleanField(
        label=_("替换已录入的安排"), required=False, help_text=_("国务院办公厅更正通知时用；已算定的到期日不变")
    )

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.lines: list[dict[str, Any]] = []

    def clean_text(self) -> Any:
        days, problems = read_notice(self.cleaned_data["text"])
        self.lines = [
            {"row": problem.line, "column": "", "message": problem.message, "mend": problem.mend}
            for problem in problems
        ]
        if problems:
            raise forms.ValidationError(_("有%(count)d行读不出，见下表。") % {"count": len(problems)})
        return days

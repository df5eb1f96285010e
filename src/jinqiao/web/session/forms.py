"""Forms of signing in and of the password."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Person


class LoginForm(forms.Form):
    """Name and password. The refusal never says which of the two was wrong."""

    username = forms.CharField(
        label=_("平台账号"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=_("口令"),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        help_text=_("忘记口令，由平台的系统管理员重置"),
    )

    def __init__(self, request: HttpRequest, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.request = request
        self.person: Person | None = None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("username") and values.get("password"):
            user = authenticate(self.request, username=values["username"].strip(), password=values["password"])
            if not isinstance(user, Person):
                raise ValidationError(_("账号或口令不对，或账号已停用。连续输错5次，在这个地址上锁定15分钟。"))
            self.person = user
        return values


class PasswordForm(forms.Form):
    """A new password, twice."""

    old = forms.CharField(
        label=_("现口令"),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label=_("新口令"),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("10位以上，不能全是数字，不能用常见口令，不能与账号或姓名相近"),
    )
    again = forms.CharField(
        label=_("再输一遍新口令"),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, person: Person, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.person = person

    def clean_new(self) -> str:
        new: str = self.cleaned_data["new"]
        validate_password(new, self.person)
        return new

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("new") and values.get("again") and values["new"] != values["again"]:
            self.add_error("again", _("两遍不一样，重新输入。"))
        return values

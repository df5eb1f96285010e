"""How a source is spared, as a form."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.models import SourceLimits
from jinqiao.kernel.contracts.exchange import Window

_SPAN = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)\s*[-–—至~]\s*((?:[01]\d|2[0-3]):[0-5]\d)")


class ProtectionForm(forms.Form):
    rows_per_s = forms.IntegerField(
        label=_("限速（行/秒）"),
        required=False,
        help_text=_("空着不限"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    mb_per_s = forms.FloatField(
        label=_("限速（MB/秒）"),
        required=False,
        help_text=_("空着不限"),
        widget=forms.NumberInput(attrs={"class": "is-short", "step": "any"}),
    )
    windows = forms.CharField(
        label=_("允许读取的时段"),
        required=False,
        help_text=_("每行一段，例如22:00-06:00，可以跨午夜；空着全天可读。时段外的运行等着，到点接着读"),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code"}),
    )
    parallel = forms.IntegerField(
        label=_("并行读取上限"),
        initial=1,
        help_text=_("同时连几个读取连接；多个连接读同一快照，不支持的数据库只用一个"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    statement_timeout_s = forms.IntegerField(
        label=_("语句超时（秒）"),
        initial=3600,
        help_text=_("一条查询超过它就断开，运行按可重试处理"),
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )

    def clean_windows(self) -> list[Window]:
        found = []
        for line in filter(None, (line.strip() for line in self.cleaned_data["windows"].splitlines())):
            match = _SPAN.fullmatch(line)
            if match is None:
                raise forms.ValidationError(_("每行写“几点几分-几点几分”：%(line)s") % {"line": line[:40]})
            found.append(Window(since=match.group(1), until=match.group(2)))
        return found

    @staticmethod
    def values_of(limits: SourceLimits | None) -> dict[str, Any]:
        if limits is None:
            return {}
        return {
            "rows_per_s": limits.rows_per_s,
            "mb_per_s": limits.mb_per_s,
            "windows": "\n".join(f"{window['since']}-{window['until']}" for window in limits.windows),
            "parallel": limits.parallel,
            "statement_timeout_s": limits.statement_timeout_s,
        }

    def wanted(self) -> dict[str, Any]:
        """What `protect_source` takes."""
        return dict(self.cleaned_data)

"""All components on one page, with made-up values: to look at, to test, to copy from. Only in the demo city and in debugging."""

from datetime import date, timedelta

from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.kernel import moments
from jinqiao.kernel.errors import NotFound
from jinqiao.web.access import public
from jinqiao.web.components import Event, Figure, Pair, Step, Tab, TreeNode
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock


class SampleForm(forms.Form):
    scenario = forms.CharField(
        label=gettext_lazy("使用场景"),
        help_text=gettext_lazy("写办什么事、在哪一步用、用完怎么处理"),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    until = forms.DateField(
        label=gettext_lazy("使用止"), widget=forms.DateInput(attrs={"class": "is-short", "type": "date"})
    )
    basis = forms.ChoiceField(label=gettext_lazy("使用依据"), choices=[("", gettext_lazy("选择权责事项"))])
    phone = forms.CharField(
        label=gettext_lazy("经办人电话"),
        required=False,
        widget=forms.TextInput(attrs={"class": "is-mid", "inputmode": "tel"}),
    )
    mode = forms.ChoiceField(
        label=gettext_lazy("共享方式"),
        widget=forms.RadioSelect,
        choices=[
            ("interface", gettext_lazy("服务接口")),
            ("batch", gettext_lazy("批量交换")),
            ("file", gettext_lazy("文件下载")),
        ],
    )
    items = forms.MultipleChoiceField(
        label=gettext_lazy("数据项"),
        widget=forms.CheckboxSelectMultiple,
        choices=[("name", gettext_lazy("主体名称")), ("legal", gettext_lazy("法定代表人证件号码"))],
    )
    assessed = forms.BooleanField(label=gettext_lazy("已作保密风险评估"), required=False)
    paper = forms.FileField(label=gettext_lazy("附件"), required=False, help_text=gettext_lazy("pdf或ofd，不超过20 MB"))


class SampleFilter(forms.Form):
    q = forms.CharField(
        label=gettext_lazy("名称或编号"), required=False, widget=forms.TextInput(attrs={"type": "search"})
    )
    state = forms.ChoiceField(
        label=gettext_lazy("状态"),
        required=False,
        choices=[("", gettext_lazy("全部")), ("active", gettext_lazy("使用中"))],
    )


def _clocks(today: date) -> list[Clock]:
    def clock(state: ClockState, due_on: date | None, stopped_on: date | None = None) -> Clock:
        return Clock(state=state, due_on=due_on, stopped_on=stopped_on, started_on=today, working_days=10, key="sample")

    return [
        clock(ClockState.RUNNING, today + timedelta(days=16)),
        clock(ClockState.RUNNING, today + timedelta(days=2)),
        clock(ClockState.RUNNING, today),
        clock(ClockState.RUNNING, today - timedelta(days=2)),
        clock(ClockState.PAUSED, today + timedelta(days=9)),
        clock(ClockState.STOPPED, today, today - timedelta(days=1)),
        clock(ClockState.STOPPED, today - timedelta(days=3), today),
        clock(ClockState.RUNNING, None),
    ]


@public
def components(request: HttpRequest) -> HttpResponse:
    if not (settings.DEBUG or settings.IS_DEMO):
        raise NotFound
    now = moments.now()
    form = SampleForm(
        {"until": "2025-02-31", "mode": "batch", "items": ["name"], "scenario": _("办理资质许可时核对企业状态。")}
    )
    values = {
        "title": _("组件"),
        "form": form,
        "filter": SampleFilter(request.GET),
        "clocks": _clocks(moments.today()),
        "page": Paginator(range(412), settings.PAGE_SIZE).get_page(request.GET.get("page")),
        "tabs": [Tab(_("核心元数据"), "#s2", is_current=True), Tab(_("数据项"), "#s3", count=18), Tab(_("质量"), "#s4")],
        "steps": [
            Step(_("抽取"), "done", _("1,204.6万行"), _("同一快照"), "#s5"),
            Step(_("检查"), "done", _("通过"), _("隔离214行"), "#s5"),
            Step(_("交付"), "now", _("812.4万行"), "67%", "#s5"),
            Step(_("对账"), "todo", note=_("等交付完成")),
            Step(_("回执"), "todo", note=_("双方签名")),
        ],
        "events": [
            Event(_("提供方答复"), moments.today(), state="now"),
            Event(_("平台受理"), now, _("平台"), _("材料齐全")),
            Event(_("提交"), now, _("经办人")),
        ],
        "figures": [
            Figure("2,386", _("目录"), _("项"), _("较上月增41"), "#s6", "rise"),
            Figure("26", _("逾期答复"), _("件"), _("较上月增9"), "#s6", "fall"),
            Figure(None, _("满意度"), note=_("本月样本不足30")),
        ],
        "pairs": [
            Pair(_("提供方"), _("市市场监管局"), url="#s7"),
            Pair(_("信息资源代码"), "30701104031/0012", code=True),
            Pair(_("信息资源摘要"), _("全市各类企业设立、变更登记的当前有效信息。"), wide=True),
            Pair(_("共享条件"), ""),
        ],
        "nodes": [
            TreeNode(
                _("主题信息资源"), "#s7", "2", 18, is_open=True, children=[TreeNode(_("信用体系"), "#s7", "201", 12, True)]
            ),
            TreeNode(_("部门信息资源"), "#s7", "3", 44),
        ],
        "errors": [
            {"cell": "R23", "row": 23, "column": _("共享条件"), "message": _("有条件共享须写明条件"), "clause": _("条例第十五条"), "mend": _("写明使用用途和范围")},
        ],
        "swatches": ["mast", "act", "here", "ink", "ink-3", "ground", "wait", "good", "warn", "bad", "stop", "line"],
    }  # fmt: skip
    return render(request, "developer/components.html", values)

"""The city's key of persons, for the security administrator: which one marks new calls, and a new one."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.exchange import actions
from jinqiao.exchange.queries.subjects import live_gateways, marked_with
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.exchange.roles import KEY_KEEPERS
from jinqiao.web.pagination import page_of


@post_required(*KEY_KEEPERS)
def subject_key(request: PostHttpRequest) -> HttpResponse:
    """The keys without their secrets, and which of them each gateway works with."""
    keys = actions.subject_keys()
    page = page_of(request, live_gateways())
    values = {
        "title": _("人员标识密钥"),
        "keys": list(reversed(keys)),
        "current": keys[-1],
        "page": page,
        "gateways": marked_with(list(page)),
    }
    return render(request, "exchange/subject_key.html", values)


@post_required(*KEY_KEEPERS)
@require_http_methods(["GET", "POST"])
def subject_key_renew(request: PostHttpRequest) -> HttpResponse:
    """Say what it means, then renew."""
    back = reverse("exchange:subject_key")
    if request.method == "POST":
        key_id = actions.renew_subject_key(by=request.post)
        messages.success(request, _("已换用密钥%(key)s，各网关取得下一份策略后生效。") % {"key": key_id})
        return HttpResponseRedirect(back)
    values = {
        "title": _("更换人员标识密钥"),
        "question": _("换用新的人员标识密钥？"),
        "what_stays": [
            _("新的调用用新密钥标记所查的人；已有的记录不变，旧密钥一直保留。"),
            _("个人查阅（谁查了我）按用过的每一把密钥查找，换前换后的记录都查得到。"),
            _("当天的异常规则把同一个人在换钥前后算作两个人；次日起恢复正常。选在夜间更换影响最小。"),
            _("列表查询中换钥前取得的翻页标记失效，应用须从第一页重新取。"),
            _("联网的网关几秒内生效；断开的网关在恢复联系前仍用旧密钥，其记录照样查得到。"),
            _("更换不能撤回。怀疑密钥泄露时更换；已泄露的旧密钥仍能核对旧记录是否涉及某人，须另行报告。"),
        ],
        "action": _("更换密钥并留痕"),
        "danger": True,
        "back": back,
    }
    return render(request, "components/confirm.html", values)

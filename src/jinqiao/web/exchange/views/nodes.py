"""Nodes: the list, one node, registering one, suspending, resuming, retiring."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.accounts.enums import Role
from jinqiao.exchange import actions, rules
from jinqiao.exchange.enums import NODE_MOVES, NodeKind, NodeState
from jinqiao.exchange.errors import NumberTaken
from jinqiao.exchange.queries.visible import nodes_visible_to
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exchange.forms import NodeFilter, NodeForm, ReasonForm
from jinqiao.web.exchange.roles import NODE_KEEPERS, SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

_WORDS = {NodeState.ACTIVE: "resume", NodeState.SUSPENDED: "suspend", NodeState.RETIRED: "retire"}


@post_required(*SEERS)
def nodes(request: PostHttpRequest) -> HttpResponse:
    form = NodeFilter(request.GET)
    form.is_valid()
    found = nodes_visible_to(request.post)
    text, kind, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "kind", "state"))
    if text:
        found = found.filter(Q(name__icontains=text) | Q(number__icontains=text))
    if kind:
        found = found.filter(kind=kind)
    if state:
        found = found.filter(state=state)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("节点"),
            [
                _("节点标识"),
                _("名称"),
                _("类别"),
                _("机构"),
                _("网络"),
                _("状态"),
                _("最近联系"),
                _("程序版本"),
                _("时钟偏差（秒）"),
            ],
            (
                (
                    node.number,
                    node.name,
                    node.get_kind_display(),
                    node.organisation.name,
                    node.get_zone_display(),
                    node.get_state_display(),
                    node.seen_at,
                    node.version,
                    node.clock_offset_s,
                )
                for node in found.iterator(chunk_size=500)
            ),
        )
    values = {
        "title": pgettext("list", "节点"),
        "form": form,
        "page": page_of(request, found),
        "may_add": rules.may(rules.check_may_manage_nodes, request.post, request.post.organisation),
    }
    return render(request, "exchange/nodes.html", values)


@post_required(*SEERS)
def node(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    may_manage = rules.may(rules.check_may_manage_node, request.post, found)
    moves = [_WORDS[state] for state in sorted(NODE_MOVES[NodeState(found.state)]) if state in _WORDS]
    values = {
        "title": found.name,
        "node": found,
        "pairs": [
            Pair(_("节点标识"), found.number, code=True),
            Pair(_("类别"), found.get_kind_display()),
            Pair(_("机构"), found.organisation.name),
            Pair(_("网络"), found.get_zone_display()),
            Pair(_("接入时间"), formats.moment(found.registered_at)),
            Pair(_("最近联系"), formats.ago(found.seen_at)),
            Pair(_("程序版本"), found.version),
            Pair(_("时钟偏差"), "" if found.clock_offset_s is None else _("%(s)s秒") % {"s": found.clock_offset_s}),
            Pair(_("暂存余量"), "" if found.spool_free_bytes is None else formats.size(found.spool_free_bytes)),
            Pair(_("密钥标识"), found.key_id, code=True),
        ],
        "sources": found.data_sources.order_by("number") if found.kind == NodeKind.FRONT_END else [],
        "services": (
            found.query_services.select_related("grant__version").order_by("number")
            if found.kind == NodeKind.GATEWAY
            else []
        ),
        "moves": moves if may_manage else [],
        "may_renew": may_manage and found.state == NodeState.EXPECTED,
    }
    return render(request, "exchange/node.html", values)


@post_required(*NODE_KEEPERS)
@never_cache
@require_http_methods(["GET", "POST"])
def node_new(request: PostHttpRequest) -> HttpResponse:
    """Register a node that is to come; its one-time code is shown on the answer, and never again."""
    own = None if request.post.role == Role.BUREAU else request.post.organisation
    form = NodeForm(request.POST or None, own=own, initial={"kind": NodeKind.FRONT_END})
    if request.method == "POST" and form.is_valid():
        try:
            made, code = actions.expect_node(by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {NumberTaken: "number"})
        else:
            return render(request, "exchange/node_code.html", {"title": _("接入码"), "node": made, "code": code})
    values = {
        "title": _("登记节点"),
        "form": form,
        "held_label": _("所属机构") if own else "",
        "held_value": own.name if own else "",
        "action": _("登记节点，取接入码"),
        "back": reverse("exchange:nodes"),
    }
    return render(request, "exchange/form.html", values)


@post_required(*NODE_KEEPERS)
@never_cache
@require_POST
def node_code(request: PostHttpRequest, pk: int) -> HttpResponse:
    """A new one-time code; the old one ends."""
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    code = actions.renew_code(found, by=request.post)
    return render(request, "exchange/node_code.html", {"title": _("接入码"), "node": found, "code": code})


@post_required(*NODE_KEEPERS)
@require_http_methods(["GET", "POST"])
def node_state(request: PostHttpRequest, pk: int, verb: str) -> HttpResponse:
    """Suspend, resume or retire; asks first."""
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    rules.check_may_manage_node(request.post, found)
    back = reverse("exchange:node", args=[pk])
    form = ReasonForm(request.POST or None) if verb != "resume" else None
    if request.method == "POST" and (form is None or form.is_valid()):
        reason = form.cleaned_data["reason"] if form else ""
        try:
            if verb == "resume":
                actions.resume_node(found, by=request.post)
            elif verb == "suspend":
                actions.suspend_node(found, by=request.post, reason=reason)
            else:
                actions.retire_node(found, by=request.post, reason=reason)
        except JinqiaoError as error:
            if form is None:
                raise
            explain(request, form, error)
        else:
            messages.success(request, _("已办理，节点状态已更新。"))
            return HttpResponseRedirect(back)
    titles = {"resume": _("恢复节点"), "suspend": _("暂停节点"), "retire": _("停用节点")}
    lines = {
        "resume": _("节点重新可以领取指令，积压的指令依次办理。"),
        "suspend": _("平台不再接受它的请求；发给它的指令留着，恢复后继续。"),
        "retire": _("停用后不能恢复，历史记录保留。它名下的数据源须改由其他节点登记。"),
    }
    values = {
        "title": titles[verb],
        "question": _("%(action)s“%(name)s”？") % {"action": titles[verb], "name": found.name},
        "what_stays": [lines[verb]],
        "form": form,
        "action": titles[verb],
        "danger": verb != "resume",
        "back": back,
    }
    return render(request, "components/confirm.html", values)

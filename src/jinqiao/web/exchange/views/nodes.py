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
from jinqiao.exchange.errors import FingerprintDiffers, NumberTaken
from jinqiao.exchange.models import Node, NodeIdentity
from jinqiao.exchange.queries.visible import nodes_visible_to, sees_all
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Figure, Pair
from jinqiao.web.exchange import gateway_view
from jinqiao.web.exchange.admission import admission_commands
from jinqiao.web.exchange.forms import CapForm, FingerprintForm, NodeFilter, NodeForm, ReasonForm
from jinqiao.web.exchange.roles import NODE_KEEPERS, SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

_WORDS = {NodeState.ACTIVE: "resume", NodeState.SUSPENDED: "suspend", NodeState.RETIRED: "retire"}


@post_required(*SEERS)
def nodes(request: PostHttpRequest) -> HttpResponse:
    form = NodeFilter(request.GET, sees_all=sees_all(request.post))
    form.is_valid()
    found = nodes_visible_to(request.post)
    text, kind, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "kind", "state"))
    if text:
        found = found.filter(Q(name__icontains=text) | Q(number__icontains=text))
    if kind:
        found = found.filter(kind=kind)
    if state:
        found = found.filter(state=state)
    if organisation := form.cleaned_data.get("organisation"):
        found = found.filter(organisation=organisation)
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


CLOCK_BORNE_S = 60
"""A clock off by more is told as trouble; the alert rule has a limit of its own."""
LOW_SPACE_BYTES = 2_000_000_000


@post_required(*SEERS)
def node(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One node: who it is, how it is, its keys, its bundles, what stands behind it."""
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    may_manage = rules.may(rules.check_may_manage_node, request.post, found)
    moves = [_WORDS[state] for state in sorted(NODE_MOVES[NodeState(found.state)]) if state in _WORDS]
    if found.state == NodeState.AWAITING:
        moves = [verb for verb in moves if verb != "resume"]  # it is approved by its fingerprint, not resumed
    values = {
        "title": found.name,
        "node": found,
        "pairs": _pairs(found),
        "health": _health(found),
        "fingerprint": fingerprint(found.key_id) if found.key_id else "",
        "keys": NodeIdentity.objects.filter(node=found).order_by("-since"),
        "bundles": page_of(request, found.bundles.order_by("-at", "-sequence")),
        "sources": found.data_sources.order_by("number") if found.kind == NodeKind.FRONT_END else [],
        "services": (
            found.query_services.select_related("grant__version").order_by("number")
            if found.kind == NodeKind.GATEWAY
            else []
        ),
        "moves": moves if may_manage else [],
        "may_renew": may_manage and found.state in (NodeState.EXPECTED, NodeState.AWAITING),
        "may_approve": may_manage and found.state == NodeState.AWAITING,
        "may_export": found.kind == NodeKind.GATEWAY and rules.may(rules.check_may_take_packs, request.post),
        "may_cap": may_manage and found.kind == NodeKind.FRONT_END and found.state != NodeState.RETIRED,
    }
    return render(request, "exchange/node.html", values)


def _pairs(node: Node) -> list[Pair]:
    """What the node is; what only runs of an exchange have, a gateway has not."""
    of_exchange = [
        Pair(_("Python版本"), node.python),
        Pair(_("直接接收地址"), node.url, code=True),
        Pair(_("同时运行上限"), _("%(count)s次") % {"count": node.run_cap}),
    ]
    return [
        Pair(_("节点标识"), node.number, code=True),
        Pair(_("类别"), node.get_kind_display()),
        Pair(_("机构"), node.organisation.name),
        Pair(_("网络"), node.get_zone_display()),
        Pair(_("接入时间"), formats.moment(node.registered_at)),
        Pair(_("最近联系"), formats.ago(node.seen_at)),
        Pair(_("程序版本"), node.version),
        *(of_exchange if node.kind != NodeKind.GATEWAY else (gateway_view.told_pair(node),)),
    ]


def _health(node: Node) -> list[Figure]:
    """Clock, disk, key: what makes runs fail before anybody looks."""
    clock, free = node.clock_offset_s, node.spool_free_bytes
    since = (
        NodeIdentity.objects.filter(node=node, until=None).order_by("-since").values_list("since", flat=True).first()
    )
    told = [
        Figure(
            None if clock is None else f"{clock:+.1f}",
            _("时钟偏差"),
            _("秒") if clock is not None else "",
            _("偏差过大，签名会被拒；校准节点机器的时钟") if clock is not None and abs(clock) > CLOCK_BORNE_S else "",
            trend="rise" if clock is not None and abs(clock) > CLOCK_BORNE_S else "",
        ),
        Figure(
            None if free is None else formats.size(free),
            _("暂存余量"),
            "",
            _("不足，清理磁盘或加大预算") if free is not None and free < LOW_SPACE_BYTES else "",
            trend="rise" if free is not None and free < LOW_SPACE_BYTES else "",
        ),
    ]
    return [
        Figure(formats.ago(node.seen_at), _("最近联系")),
        *(told if node.kind != NodeKind.GATEWAY else gateway_view.figures_of(node)),
        Figure(formats.iso_day(since) if since else None, _("现用密钥启用")),
    ]


@post_required(*NODE_KEEPERS)
@require_http_methods(["GET", "POST"])
def node_approve(request: PostHttpRequest, pk: int) -> HttpResponse:
    """A person has compared the fingerprint at the node's machine with the one that registered here."""
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    rules.check_may_manage_node(request.post, found)
    form = FingerprintForm(request.POST or None)
    back = reverse("exchange:node", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.approve_node(found, by=request.post, key_id=form.cleaned_data["fingerprint"])
        except JinqiaoError as error:
            explain(request, form, error, {FingerprintDiffers: "fingerprint"})
        else:
            messages.success(request, _("节点已核准，开始领取指令。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("核准节点"),
        "question": _("核准“%(name)s”？") % {"name": found.name},
        "what_stays": [
            _(
                "用接入码来登记的，未必就是您部门的机器。请机房的人读出节点机器上显示的密钥指纹，填在下面；与平台收到的一致才核准。"
            ),
            _("核准后它可以领取指令、读取和交付数据。指纹不一致时不要核准，回节点页重新生成接入码。"),
        ],
        "form": form,
        "action": _("指纹一致，核准"),
        "back": back,
        "back_label": _("不核准"),
    }
    return render(request, "components/confirm.html", values)


@post_required(*NODE_KEEPERS)
@require_http_methods(["GET", "POST"])
def node_cap(request: PostHttpRequest, pk: int) -> HttpResponse:
    """How many runs it works at, at once."""
    found = get_object_or_404(nodes_visible_to(request.post), pk=pk)
    rules.check_may_manage_node(request.post, found)
    form = CapForm(request.POST or None, initial={"run_cap": found.run_cap})
    back = reverse("exchange:node", args=[pk])
    if request.method == "POST" and form.is_valid():
        actions.cap_node(found, by=request.post, run_cap=form.cleaned_data["run_cap"])
        messages.success(request, _("运行上限已更新。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("运行上限"),
        "form": form,
        "held_label": _("节点"),
        "held_value": found.name,
        "action": _("更新上限"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


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
            return _code_page(request, made, code)
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
    return _code_page(request, found, code)


def _code_page(request: PostHttpRequest, node: Node, code: str) -> HttpResponse:
    """The code, and the commands that use it."""
    values = {"title": _("接入码"), "node": node, "code": code, "commands": admission_commands(node, code)}
    return render(request, "exchange/node_code.html", values)


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

"""A gateway's policy and evidence as its page shows them: by its own word where it says one, else by what came here."""

from django.db.models import Max
from django.utils.translation import gettext as _

from jinqiao.exchange.actions.evidence_alerts import state_of
from jinqiao.exchange.models import EvidenceAnchor, EvidenceSegment, Node, PolicyVersion
from jinqiao.kernel.contracts.health import GatewayState
from jinqiao.web import formats
from jinqiao.web.components import Figure, Pair


def figures_of(gateway: Node) -> list[Figure]:
    """Policy, records that wait, anchors: what makes calls fail, or their evidence, before anybody looks."""
    told = state_of(gateway)
    return [_policy(gateway, told), _evidence(gateway, told), *_anchors(gateway, told)]


def _policy(gateway: Node, told: GatewayState | None) -> Figure:
    last = PolicyVersion.objects.filter(gateway=gateway).order_by("-version").first()
    if told is None or told.policy_version is None:
        note = _("平台最新第%(version)s版，网关未报告") % {"version": last.version} if last else _("还没有下发")
        return Figure(None, _("策略版本"), "", note)
    is_behind = last is not None and last.version > told.policy_version and last.issued_at < told.at
    issued = formats.ago(told.policy_issued_at)
    note = (
        _("平台已有第%(version)s版") % {"version": last.version}
        if is_behind and last is not None
        else _("%(ago)s签发") % {"ago": issued}
    )
    return Figure(formats.number(told.policy_version), _("策略版本"), "", note, trend="rise" if is_behind else "")


def _evidence(gateway: Node, told: GatewayState | None) -> Figure:
    received = EvidenceSegment.objects.filter(gateway=gateway).aggregate(at=Max("received_at"))["at"]
    note = _("最近收到记录：%(ago)s") % {"ago": formats.ago(received)} if received else _("还没有收到记录")
    if told is None or told.waiting_batches is None:
        return Figure(None, _("待送批次"), "", note)
    if told.waiting_since is not None:
        note = _("最早一条%(ago)s；%(note)s") % {"ago": formats.ago(told.waiting_since), "note": note}
    return Figure(
        formats.number(told.waiting_batches),
        _("待送批次"),
        _("批"),
        note if told.evidence_healthy else _("存证写不进去，调用已停止答复"),
        trend="" if told.evidence_healthy else "rise",
    )


def _anchors(gateway: Node, told: GatewayState | None) -> list[Figure]:
    anchors = EvidenceAnchor.objects.filter(gateway=gateway)
    here = anchors.order_by("-at").values_list("at", flat=True).first()
    witnessed = anchors.filter(witness__isnull=False).order_by("-at").select_related("witness").first()
    made = max(filter(None, [here, told.anchored_at if told else None]), default=None)
    problem = told.anchor_problem if told else ""
    return [
        Figure(
            formats.ago(made) if made else None,
            _("最近的存证锚"),
            "",
            _("有问题：%(problem)s") % {"problem": problem} if problem else "",
            trend="rise" if problem else "",
        ),
        Figure(
            formats.ago(witnessed.at) if witnessed else None,
            _("最近经副署的锚"),
            "",
            _("见证：%(name)s") % {"name": witnessed.witness.name}
            if witnessed and witnessed.witness
            else _("还没有其他部门的节点副署"),
        ),
    ]


def told_pair(gateway: Node) -> Pair:
    """When the gateway said so."""
    told = state_of(gateway)
    return Pair(_("网关自报"), formats.moment(told.at) if told else _("没有报告；升级网关程序后显示"))

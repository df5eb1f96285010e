"""Alerts of evidence: that a record of calls does not hold, is not witnessed, does not come, or is contradicted by the other side.

They go to the authority and to who audits: the side that keeps a gateway must not be the only one to know. What is refused is told where
it is refused, and closed by what shows that the chain goes on as it is kept here; the rest is found on the worker's ticks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, QuerySet
from django.db.models.functions import TruncDate
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.models import Organisation
from jinqiao.audit import trail
from jinqiao.exchange.actions.alerting import GATEWAY_RETIRED, WITNESS_RETIRED, close_alert, node_key, open_alert
from jinqiao.exchange.actions.found import Found, of_node
from jinqiao.exchange.enums import AlertKind, NodeKind, NodeState
from jinqiao.exchange.models import Alert, Call, EvidenceAnchor, EvidenceSegment, Node
from jinqiao.exchange.queries.alerts import Rule, RuleBook
from jinqiao.exchange.queries.confirmations import contradicted_calls, receipts_waiting
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.health import GatewayState
from jinqiao.kernel.moments import CHINA
from jinqiao.sharing import queries as sharing

ANCHOR = "anchor"
"""Reason of a refusal that concerns an anchor, not a batch."""


def answerable(gateway: Node) -> Organisation:
    """Who answers for the evidence of a gateway: the authority of its place."""
    return sharing.authority_for(gateway.organisation) or gateway.organisation


# ── told where it happens ──


def tell_broken(gateway: Node, *, lane: str, batch: int, reason: str) -> Alert | None:
    """A batch or an anchor was refused. One alert a gateway: of the first that was not mended."""
    return open_alert(
        AlertKind.EVIDENCE_BROKEN,
        node_key(gateway),
        organisation=answerable(gateway),
        title=_("网关“%(name)s”上送的存证不成立") % {"name": gateway.name},
        about=trail.subject(gateway),
        node=gateway,
        lane=lane,
        batch=batch,
        reason=reason,
    )


def note_taken(gateway: Node, lane: str, batch: int, *, is_anchor: bool) -> None:
    """A batch, or an anchor, that came new and holds: it follows the chain that is kept here, so what was refused in that lane up to it
    has not become part of the record."""
    alert = _open(AlertKind.EVIDENCE_BROKEN, node_key(gateway))
    if (
        alert is not None
        and alert.details.get("lane") == lane
        and int(alert.details.get("batch", 0)) <= batch
        and (alert.details.get("reason") == ANCHOR) is is_anchor
    ):
        close_alert(AlertKind.EVIDENCE_BROKEN, alert.key)


def tell_refused(anchor: EvidenceAnchor, witness: Node, *, code: str = "", reason: str = "") -> Alert | None:
    """A node of another department says that the anchor contradicts what it has seen (`code`), or its countersignature does not hold."""
    gateway = anchor.gateway
    told: dict[str, Any] = {"code": code} if code else {"reason": reason}
    return open_alert(
        AlertKind.WITNESS_REFUSED,
        _witness_key(anchor, witness),
        organisation=answerable(gateway),
        title=_("见证节点不认网关“%(name)s”的存证锚") % {"name": gateway.name},
        about=trail.subject(gateway),
        node=gateway,
        lane=anchor.lane,
        batch=anchor.batch,
        witness=witness.number,
        **told,
    )


def note_witnessed(anchor: EvidenceAnchor, witness: Node) -> None:
    """The same node has countersigned a later anchor: by its own memory the lane goes on as it was. No other node can say so."""
    close_alert(AlertKind.WITNESS_REFUSED, _witness_key(anchor, witness))


def _witness_key(anchor: EvidenceAnchor, witness: Node) -> str:
    return f"witness:{anchor.gateway_id}:{witness.pk}:{anchor.lane}"


def _open(kind: AlertKind, key: str) -> Alert | None:
    return Alert.objects.filter(kind=kind, key=key, closed_at=None).first()


_OF_WORKING_GATEWAYS = (
    AlertKind.EVIDENCE_BROKEN,
    AlertKind.WITNESS_REFUSED,
    AlertKind.ANCHOR_UNWITNESSED,
    AlertKind.EVIDENCE_SILENT,
)
"""What only a gateway that goes on could mend. Records that contradict each other are looked into whether it works or not: that alert
ends with the days that are watched."""


def close_of_retired() -> None:
    """A gateway that is retired brings no batch, no anchor and no record any more, and a witness that is retired, which alone could say
    that a lane went on as it was, says nothing: what is open of them is closed and says so. What was refused stays in the trail and in
    the list of alerts."""
    still_open = Alert.objects.filter(kind__in=_OF_WORKING_GATEWAYS, closed_at=None).order_by("id")
    for kind, key in list(still_open.filter(node__state=NodeState.RETIRED).values_list("kind", "key")):
        close_alert(AlertKind(kind), key, because=GATEWAY_RETIRED)
    of_witnesses = still_open.filter(kind=AlertKind.WITNESS_REFUSED)
    witnesses = {alert.key: alert.details.get("witness", "") for alert in of_witnesses}
    retired = set(
        Node.objects.filter(number__in=witnesses.values(), state=NodeState.RETIRED).values_list("number", flat=True)
    )
    for key, witness in witnesses.items():
        if witness in retired:
            close_alert(AlertKind.WITNESS_REFUSED, key, because=WITNESS_RETIRED)


# ── found on ticks ──


def _gateways(kind: AlertKind, rule: Rule, within: str, book: RuleBook) -> Iterator[Node]:
    """Gateways that work. A platform that has just begun to listen tells nothing new of a time in which it did not: what is open
    stays open."""
    if not rule.is_on:
        return
    nodes = Node.objects.filter(kind=NodeKind.GATEWAY, state=NodeState.ACTIVE).select_related("organisation")
    if book.listening_s < rule.number(within):
        nodes = nodes.filter(pk__in=Alert.objects.filter(kind=kind, closed_at=None).values("node"))
    yield from nodes.order_by("id")


def unwitnessed(book: RuleBook) -> Iterator[Found]:
    """Batches that have lain here for long without an anchor over them that a node of another department countersigned: up to then
    the platform alone could have changed them."""
    rule = book.rule(AlertKind.ANCHOR_UNWITNESSED)
    for gateway in _gateways(AlertKind.ANCHOR_UNWITNESSED, rule, "after_s", book):
        first = min(_uncovered(gateway), key=lambda one: one.since, default=None)
        if first is not None and moments.now() - first.since > timedelta(seconds=rule.number("after_s")):
            yield of_node(
                gateway,
                rule,
                _("网关“%(name)s”的存证久未经其他部门节点副署"),
                organisation=answerable(gateway),
                lane=first.lane,
                batch=first.batch,
                since=first.since.isoformat(),
                witnesses=possible_witnesses(gateway).count(),
            )


def possible_witnesses(gateway: Node) -> QuerySet[Node]:
    """Front-end nodes of other departments: who may countersign the anchors of a gateway."""
    return Node.objects.filter(kind=NodeKind.FRONT_END, state=NodeState.ACTIVE).exclude(
        organisation_id=gateway.organisation_id
    )


@dataclass(frozen=True, slots=True)
class _Uncovered:
    lane: str
    batch: int
    since: datetime


def _uncovered(gateway: Node) -> Iterator[_Uncovered]:
    """Of each lane the first batch that no countersigned anchor covers."""
    for lane in lanes_of(gateway):
        covered = (
            EvidenceAnchor.objects.filter(gateway=gateway, lane=lane, witness__isnull=False)
            .order_by("-batch")
            .values_list("batch", flat=True)
            .first()
        )
        first = (
            EvidenceSegment.objects.filter(gateway=gateway, lane=lane, batch__gt=covered or 0)
            .order_by("batch")
            .values_list("batch", "received_at")
            .first()
        )
        if first is not None:
            yield _Uncovered(lane, *first)


def lanes_of(gateway: Node) -> Iterator[str]:
    """Lanes of a gateway, by steps through the index: a DISTINCT would read every batch that was ever kept."""
    lanes = EvidenceSegment.objects.filter(gateway=gateway).order_by("lane").values_list("lane", flat=True)
    lane = lanes.first()
    while lane is not None:
        yield lane
        lane = lanes.filter(lane__gt=lane).first()


def evidence_silent(book: RuleBook) -> Iterator[Found]:
    """A gateway is in contact, and does not bring its records: by its own word some wait there, or it recorded what has not come, or
    it brought records before and has brought none for long."""
    rule = book.rule(AlertKind.EVIDENCE_SILENT)
    in_contact = timedelta(seconds=book.rule(AlertKind.NODE_SILENT).number("after_s"))
    for gateway in _gateways(AlertKind.EVIDENCE_SILENT, rule, "waiting_s", book):
        now = moments.now()
        if gateway.seen_at is None or now - gateway.seen_at > in_contact:
            continue  # that one is told as a node that is silent
        last = EvidenceSegment.objects.filter(gateway=gateway).aggregate(at=Max("received_at"), made=Max("latest_at"))
        told = state_of(gateway)
        details: dict[str, Any] = {"seen_at": gateway.seen_at.isoformat()}
        if last["at"] is not None:
            details["received_at"] = last["at"].isoformat()
        if told is not None and _is_held_back(gateway, told, last["made"], timedelta(seconds=rule.number("waiting_s"))):
            details["waiting"] = told.waiting_batches or 0
            details["recorded_at"] = told.recorded_at.isoformat() if told.recorded_at else ""
        elif (
            last["at"] is None
            or book.listening_s < rule.number("quiet_s")
            or now - last["at"] <= timedelta(seconds=rule.number("quiet_s"))
        ):
            continue
        title = _("网关“%(name)s”在线，却久未上送调用记录")
        yield of_node(gateway, rule, title, organisation=answerable(gateway), **details)


def state_of(gateway: Node) -> GatewayState | None:
    """What the gateway said last of itself; None where it is of an earlier release, or has said nothing yet."""
    try:
        return GatewayState.from_json(gateway.gateway_state["told"]) if gateway.gateway_state else None
    except ContractBroken:
        return None


def _is_held_back(gateway: Node, told: GatewayState, made: datetime | None, most: timedelta) -> bool:
    """Whether the same record has been waiting for longer, all the time in contact, or one was made that neither waits nor came.
    `made`: of the newest record here."""
    waiting_from = gateway.gateway_state["waiting_from"]
    if waiting_from and moments.now() - datetime.fromisoformat(waiting_from) > most:
        return True
    if told.recorded_at is None or told.waiting_batches:
        return False
    return (made is None or made < told.recorded_at) and told.at - told.recorded_at > most


def receipts_contradict(book: RuleBook) -> Iterator[Found]:
    """What an application says that it got and what the gateway recorded do not agree: one finding for each application and day (of
    China, of the receipt)."""
    rule = book.rule(AlertKind.RECEIPTS_CONTRADICT)
    if not rule.is_on:
        return
    since = moments.now() - timedelta(days=rule.number("watched_days"))
    until = moments.now() - timedelta(seconds=rule.number("grace_s"))
    counts: dict[tuple[int, str, date], dict[str, Any]] = {}
    for name, rows in (
        ("contradicted", _by_day(contradicted_calls().filter(confirmed_at__gte=since), "confirmed_at")),
        ("unmatched", _by_day(receipts_waiting().filter(at__gte=since, at__lt=until), "at")),
    ):
        for row in rows:
            one = counts.setdefault((row["gateway"], row["application"], row["day"]), {"first": row["first"]})
            one[name], one["first"] = row["count"], min(one["first"], row["first"])
    nodes = Node.objects.select_related("organisation").in_bulk({gateway for gateway, _name, _day in counts})
    for (gateway, application, day), one in sorted(counts.items()):
        contradicted, unmatched = int(one.get("contradicted", 0)), int(one.get("unmatched", 0))
        if contradicted + unmatched >= rule.number("least_calls"):
            node = nodes[gateway]
            yield Found(
                key=f"receipts:{gateway}:{application}:{day.isoformat()}",
                rule=rule,
                organisation=answerable(node),
                title=_("应用%(application)s与网关的调用记录不一致") % {"application": application},
                about=trail.subject(node),
                node=node,
                details={
                    "application": application,
                    "contradicted": contradicted,
                    "unmatched": unmatched,
                    "since": one["first"].isoformat(),
                },
            )


def _by_day(calls: QuerySet[Call], moment: str) -> Iterator[dict[str, Any]]:
    """Counts with the first of them, by gateway, application and day of China."""
    days = calls.order_by().annotate(day=TruncDate(moment, tzinfo=CHINA)).values("gateway", "application", "day")
    for row in days.annotate(count=Count("pk"), first=Min(moment)):
        yield dict(row)

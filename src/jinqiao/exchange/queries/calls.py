"""Finding calls, and what proves one. Departments find calls of their own side, the bureau and the auditor all; nobody finds content."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db.models import Q, QuerySet

from jinqiao.accounts.models import Application, Post
from jinqiao.exchange.models import Anomaly, Call, EvidenceAnchor, EvidenceSegment, QueryService
from jinqiao.exchange.queries.confirmations import contradicted_calls, receipts_without_call, unconfirmed_calls
from jinqiao.exchange.queries.visible import calls_visible_to
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.kernel.moments import CHINA
from jinqiao.sharing.models import Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsWanted:
    """What narrows a search; what is empty narrows nothing. Days are China's, `hour` is one instant's hour, `text` is a whole
    call id or case number, `provider` and `consumer` are credit codes. Receipts are found only by their operation."""

    since: date | None = None
    until: date | None = None
    hour: datetime | None = None
    text: str = ""
    provider: str = ""
    consumer: str = ""
    service: str = ""
    application: str = ""
    purpose: str = ""
    operation: str = ""
    environment: str = ""
    outcome: str = ""  # "ok", "refused", or the code of a refusal
    owner: str = ""  # ErrorOwner
    end_user: str = ""
    case_number: str = ""
    grant: str = ""
    pairing: str = ""  # "unconfirmed", "contradicted", or "unmatched": receipts of calls that no gateway answered
    anomaly: Anomaly | None = None


_EXACT = {
    "provider": "provider", "consumer": "consumer", "service": "service", "application": "application", "purpose": "purpose",
    "environment": "environment", "owner": "error_owner", "end_user": "end_user", "case_number": "case_number",
    "grant": "grant_number",
}  # fmt: skip


def calls_found(post: Post, wanted: CallsWanted) -> QuerySet[Call]:
    """Calls that the post may see, newest first, without their records."""
    found = calls_visible_to(post).defer("record")
    found = found.filter(**{field: value for name, field in _EXACT.items() if (value := getattr(wanted, name))})
    if wanted.pairing:
        found = found.filter(pk__in=paired(wanted.pairing).values("pk"))
    if wanted.operation or wanted.pairing != "unmatched":
        found = found.filter(operation=wanted.operation) if wanted.operation else found.exclude(operation=RECEIPT)
    if wanted.text:
        found = found.filter(Q(call_id=wanted.text) | Q(case_number=wanted.text))
    if wanted.outcome == "refused":
        found = found.exclude(outcome="ok")
    elif wanted.outcome:
        found = found.filter(outcome=wanted.outcome)
    if wanted.since:
        found = found.filter(at__gte=midnight(wanted.since))
    if wanted.until:
        found = found.filter(at__lt=midnight(wanted.until) + timedelta(days=1))
    if wanted.hour:
        found = found.filter(at__gte=wanted.hour, at__lt=wanted.hour + timedelta(hours=1))
    return found.filter(of_anomaly(wanted.anomaly)) if wanted.anomaly is not None else found


def paired(how: str) -> QuerySet[Call]:
    """Calls by whether the consumer's own record of them came, and fits (`CallsWanted.pairing`)."""
    match how:
        case "unconfirmed":
            return unconfirmed_calls(moments.now())
        case "contradicted":
            return contradicted_calls()
    return receipts_without_call()


def midnight(day: date) -> datetime:
    """The first instant of a day in China."""
    return datetime.combine(day, time(), CHINA)


def of_anomaly(anomaly: Anomaly) -> Q:
    """The calls that an anomaly was found in."""
    wanted = Q(at__gte=anomaly.since, at__lt=anomaly.until, environment="production")
    for name in ("service", "application", "end_user", "case_number"):
        if value := getattr(anomaly, name):
            wanted &= Q(**{name: value})
    if anomaly.provider is not None:
        wanted &= Q(provider=anomaly.provider.credit_code)
    if anomaly.consumer is not None:
        wanted &= Q(consumer=anomaly.consumer.credit_code)
    if anomaly.subject:
        wanted &= Q(subjects__commitment=anomaly.subject)
    return wanted


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a call is proved: its batch in the chain of its lane, the first anchor that covers it, its things by name."""

    segment: EvidenceSegment | None
    anchor: EvidenceAnchor | None
    grant: Grant | None
    service: QueryService | None
    application: Application | None


def proof_of(call: Call) -> Proof:
    segment = EvidenceSegment.objects.filter(
        gateway_id=call.gateway_id, lane=call.lane, first_number__lte=call.number, last_number__gte=call.number
    ).first()
    anchor = None
    if segment is not None:
        anchors = EvidenceAnchor.objects.filter(gateway_id=call.gateway_id, lane=call.lane, batch__gte=segment.batch)
        anchor = anchors.select_related("witness").order_by("batch", "at", "id").first()
    return Proof(
        segment,
        anchor,
        Grant.objects.select_related("version", "request").filter(number=call.grant_number).first(),
        QueryService.objects.filter(number=call.service).first(),
        Application.objects.filter(number=call.application).first(),
    )

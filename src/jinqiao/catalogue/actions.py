"""What is done with catalogue entries: compile, review, sign, publish, withdraw; each with its audit event and to-dos.

The course of a version is the table `enums.VERSION_MOVES`: its operator compiles it, the department's administrator reviews,
the head signs, the authority publishes. Readers see the live version meanwhile: it changes by publication only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.accounts.queries import authority_of
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.audit.trail import subject
from jinqiao.catalogue import completeness, content, errors, queries, rules, search, secrecy, signals
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.fields import clean_entry, clean_items, label
from jinqiao.catalogue.formats import known_type
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, DataItem, EntryVersion
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.identifiers.errors import ResourceCodeWrong
from jinqiao.kernel.identifiers.resource_code import CodeProfile
from jinqiao.kernel.rulesets import ruleset, ruleset_for
from jinqiao.workflow import actions as desk
from jinqiao.workflow import queries as desk_queries
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import Clock, SignOff

UPDATE_CLOCK = "catalogue.update"
REVIEW_CLOCK = "catalogue.authority_review"

Fields = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Assessments:
    """What the head answers for (条例 第十三条): both assessments with their conclusions."""

    secrecy_risk_conclusion: str
    personal_information: str
    personal_information_conclusion: str

    def as_fields(self) -> dict[str, Any]:
        return {
            "secrecy_risk_assessed": bool(self.secrecy_risk_conclusion.strip()),
            "secrecy_risk_conclusion": self.secrecy_risk_conclusion,
            "personal_information": self.personal_information,
            "personal_information_assessed": bool(self.personal_information_conclusion.strip()),
            "personal_information_conclusion": self.personal_information_conclusion,
        }


# --- compiling -------------------------------------------------------------------------------------------------------


def create_entry(*, by: Post, node: ClassificationNode, fields: Fields, items: Items = ()) -> EntryVersion:
    """A new entry of the post's organisation with its first version, a draft.

    Raises NotCompiler, SecrecyMarked, and Findings about values that cannot be kept; what is merely missing may wait.
    """
    refuse_secrets(fields, items, by=by)
    with transaction.atomic():
        rules.check_may_compile(by, by.organisation)
        version = add_entry(by=by, node=node, fields=fields, items=items)
        trail.record("catalogue.entry.create", by=by.actor, about=subject(version), node=node.code)
    return version


def add_entry(*, by: Post, node: ClassificationNode, fields: Fields, items: Items) -> EntryVersion:
    """`create_entry` without its rule, its guard against secrets and its event: for the import of a workbook."""
    _check_node(node)
    values, item_values = _cleaned(fields, items)
    entry = CatalogueEntry.objects.create(provider=by.organisation, node=node, created_at=moments.now())
    version = EntryVersion(entry=entry, number=1, rule_set=ruleset_for(moments.today()).name, compiled_by=by)
    _write(version, values, item_values)
    return version


def save_draft(
    version: EntryVersion,
    *,
    by: Post,
    fields: Fields,
    items: Items | None = None,
    node: ClassificationNode | None = None,
) -> EntryVersion:
    """Change a draft or a returned version; without `items` they stay. Another class only while there is no code yet.

    Raises NotCompiler, NotProvider, VersionNotReady, SecrecyMarked, Findings, NodeTaken.
    """
    refuse_secrets(fields, items or (), by=by)
    with transaction.atomic():
        version = _locked(version)
        rules.check_may_change(by, version)
        change_draft(version, by=by, fields=fields, items=items, node=node)
        trail.record("catalogue.version.save", by=by.actor, about=subject(version), fields=sorted(fields))
    return version


def change_draft(
    version: EntryVersion, *, by: Post, fields: Fields, items: Items | None, node: ClassificationNode | None = None
) -> None:
    """`save_draft` without its rule, its guard and its event, on a locked version."""
    if node is not None and node.pk != version.entry.node_id:
        if version.entry.code:
            raise errors.NodeTaken
        _check_node(node)
        version.entry.node = node
        version.entry.save(update_fields=["node"])
    values, item_values = _cleaned(fields, items or ())
    version.compiled_by = by
    _write(version, values, None if items is None else item_values)


@transaction.atomic
def start_revision(entry: CatalogueEntry, *, by: Post, changed_on: date | None = None) -> EntryVersion:
    """A draft copied from the live version, which stays in use until the draft is published.

    `changed_on`: the day on which the law, the decision or the department's duties changed; it starts the clock of the update
    (条例 第十七条). Raises NotCompiler, NotProvider, NothingPublished, RevisionInWork.
    """
    entry = _locked_entry(entry)
    rules.check_may_compile(by, entry.provider)
    rules.check_not_withdrawn(entry)
    live = entry.live_version
    if live is None:
        raise errors.NothingPublished
    if queries.version_in_work(entry) is not None:
        raise errors.RevisionInWork
    number = (entry.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    version = EntryVersion(
        entry=entry,
        number=number,
        rule_set=ruleset_for(moments.today()).name,
        compiled_by=by,
        **content.values_of(live),
    )
    # the assessments were of the old content
    version.secrecy_risk_assessed = version.personal_information_assessed = False
    _write(version, {}, content.item_values(live.items.all()))
    about = subject(version)
    if changed_on is not None and UPDATE_CLOCK in ruleset_for(changed_on).clocks:
        desk.start_clock(
            key=UPDATE_CLOCK,
            about=about,
            organisation=entry.provider,
            rule_set=ruleset_for(changed_on),
            started_on=changed_on,
            by=by,
        )
    trail.record("catalogue.version.revise", by=by.actor, about=about, number=number, changed_on=changed_on)
    return version


@transaction.atomic
def submit(version: EntryVersion, *, by: Post) -> EntryVersion:
    """Hand a complete draft to the department's review.

    Raises NotCompiler, NotProvider, VersionNotReady, and Findings: all that is missing or contradicts, at once.
    """
    version = _locked(version)
    rules.check_may_change(by, version)
    found = _gaps(version)
    if found:
        raise errors.Findings(found)
    version.compiled_by = by
    version.rule_set = ruleset_for(moments.today()).name
    version.submitted_at = moments.now()
    version.return_reason = ""
    _move(version, VersionState.DEPARTMENT_REVIEW, "compiled_by", "rule_set", "submitted_at", "return_reason")
    trail.record("catalogue.version.submit", by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    _open_todo(
        version, "catalogue.department_review", _("审核目录：%s"), version.entry.provider, Role.DEPARTMENT_ADMINISTRATOR
    )
    return version


@transaction.atomic
def discard_draft(version: EntryVersion, *, by: Post) -> EntryVersion:
    """Give up a draft or a returned version. A live version stays in use; an entry that has none is withdrawn with it."""
    version = _locked(version)
    rules.check_may_change(by, version)
    _move(version, VersionState.WITHDRAWN)
    _stop_clocks(version, by)
    desk.finish_todos(subject(version), by=by)
    if version.entry.live_version_id is None:
        version.entry.withdrawn_at = moments.now()
        version.entry.save(update_fields=["withdrawn_at"])
    trail.record("catalogue.version.discard", by=by.actor, about=subject(version), number=version.number)
    return version


# --- review ----------------------------------------------------------------------------------------------------------


@transaction.atomic
def review_as_department(version: EntryVersion, *, by: Post, approved: bool, opinion: str = "") -> EntryVersion:
    """The department's administrator passes the version to the head or returns it with a reason.

    Raises NotReviewer, NotProvider, OwnWork, VersionNotReady, ReasonMissing.
    """
    version = _locked(version)
    rules.check_may_review_as_department(by, version)
    _sign(SignOffKind.CATALOGUE_DEPARTMENT, version, by, approved, opinion)
    if not approved:
        return _return(version, by, opinion, "catalogue.version.return")
    _move(version, VersionState.HEAD_SIGNATURE)
    trail.record("catalogue.version.pass_department", by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    _open_todo(version, "catalogue.head_signature", _("签发目录：%s"), version.entry.provider, Role.HEAD)
    return version


@transaction.atomic
def sign_as_head(
    version: EntryVersion, *, by: Post, approved: bool, opinion: str = "", assessments: Assessments | None = None
) -> EntryVersion:
    """The head signs the content with both assessments, or returns it; then the authority's clock starts.

    Raises NotReviewer, NotProvider, OwnWork, VersionNotReady, ReasonMissing, NoAuthority, Findings (assessments missing).
    """
    version = _locked(version)
    rules.check_may_sign_as_head(by, version)
    if approved and assessments is not None:
        values, _items = _cleaned(assessments.as_fields(), ())
        _write(version, values, None)
    if approved:
        missing = completeness.unassessed(content.values_of(version), ruleset(version.rule_set).publication)
        missing += _gaps(version)
        if missing:
            raise errors.Findings(missing)
    _sign(SignOffKind.CATALOGUE_HEAD, version, by, approved, opinion)
    if not approved:
        return _return(version, by, opinion, "catalogue.version.return")
    authority = authority_of(version.entry.provider.region)
    if authority is None:
        raise errors.NoAuthority(provider=version.entry.provider.name)
    _move(version, VersionState.AUTHORITY_REVIEW)
    trail.record("catalogue.version.sign_head", by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    rule_set = ruleset_for(moments.today())
    clock: Clock | None = None
    if REVIEW_CLOCK in rule_set.clocks:
        clock = desk.start_clock(
            key=REVIEW_CLOCK,
            about=subject(version),
            organisation=authority,
            rule_set=rule_set,
            started_on=moments.today(),
            by=by,
        )
    _open_todo(version, "catalogue.authority_review", _("审核发布目录：%s"), authority, Role.BUREAU, clock)
    return version


@transaction.atomic
def review_as_authority(version: EntryVersion, *, by: Post, approved: bool, opinion: str = "") -> EntryVersion:
    """The authority publishes the version, with a code where the entry has none yet, or returns it with a reason.

    Raises NotReviewer, NotAuthority, OwnWork, VersionNotReady, ReasonMissing, HeadSignatureMissing, Findings.
    """
    version = _locked(version)
    rules.check_may_review_as_authority(by, version)
    if approved:
        _check_signed(version)
        gaps = completeness.unassessed(content.values_of(version), ruleset(version.rule_set).publication) + _gaps(
            version
        )
        if gaps:
            raise errors.Findings(gaps)
    _sign(SignOffKind.CATALOGUE_AUTHORITY, version, by, approved, opinion)
    _stop_clocks(version, by, keys=None if approved else {REVIEW_CLOCK})
    if not approved:
        return _return(version, by, opinion, "catalogue.version.return")
    return _publish(version, by)


def _publish(version: EntryVersion, by: Post) -> EntryVersion:
    entry = version.entry = _locked_entry(version.entry)
    rules.check_not_withdrawn(entry)
    if entry.code is None:
        _assign_code(entry)
    before = entry.live_version
    if before is not None:
        _move(before, VersionState.SUPERSEDED)
    version.published_at = moments.now()
    version.released_on = version.released_on or moments.today()
    _move(version, VersionState.PUBLISHED, "published_at", "released_on")
    entry.live_version = version
    entry.save(update_fields=["live_version", "code", "sequence"])
    search.index(version)
    about = subject(version)
    desk.finish_todos(about, by=by)
    trail.record("catalogue.entry.publish", by=by.actor, about=about, code=entry.code, number=version.number)
    signals.entry_published.send(sender=CatalogueEntry, version=version, by=by)
    return version


def _assign_code(entry: CatalogueEntry) -> None:
    """The next running number of the class: without gaps, since class and number are locked until the entry is stored."""
    node = ClassificationNode.objects.select_for_update().get(pk=entry.node_id)
    last = CatalogueEntry.objects.filter(node=node).aggregate(last=Max("sequence"))["last"] or 0
    entry.sequence = last + 1
    entry.code = CodeProfile.load().compose(node.code, entry.sequence)


@transaction.atomic
def withdraw(entry: CatalogueEntry, *, by: Post, reason: str) -> CatalogueEntry:
    """Take an entry out of the catalogue: the live version and one in work end, the code is never given again.

    Raises MayNotWithdraw, EntryWithdrawn, ReasonMissing.
    """
    entry = _locked_entry(entry)
    rules.check_may_withdraw(by, entry)
    reason = _reason(reason)
    work = queries.version_in_work(entry)
    if work is not None:
        if work.state not in rules.WITH_COMPILER:
            _move(work, VersionState.RETURNED)
        _move(work, VersionState.WITHDRAWN)
        _stop_clocks(work, by)
        desk.finish_todos(subject(work), by=by)
    if entry.live_version is not None:
        entry.live_version.return_reason = reason
        _move(entry.live_version, VersionState.WITHDRAWN, "return_reason")
    entry.live_version = None
    entry.withdrawn_at = moments.now()
    entry.save(update_fields=["live_version", "withdrawn_at"])
    search.remove(entry.pk)
    trail.record("catalogue.entry.withdraw", by=by.actor, about=subject(entry), reason=reason)
    signals.entry_withdrawn.send(sender=CatalogueEntry, entry=entry, by=by, reason=reason)
    return entry


# --- common steps ----------------------------------------------------------------------------------------------------


def refuse_secrets(fields: Fields, items: Items, *, by: Post) -> None:
    """Raise SecrecyMarked, with an event that names the place and nothing else, where a text marks itself as secret.

    Called before the action's transaction begins, so that the event stays when the action does not.
    """
    texts = [(str(label(name)), value) for name, value in fields.items() if isinstance(value, str)]
    for position, item in enumerate(items, start=1):
        texts += [
            (_("信息项%(position)d %(label)s") % {"position": position, "label": label(name, of=DataItem)}, value)
            for name, value in item.items()
            if isinstance(value, str)
        ]
    place = secrecy.first_marked(texts)
    if place is not None:
        refuse_secret_at(place, by=by)


def refuse_secret_at(place: str, *, by: Post) -> None:
    trail.record("catalogue.secrecy.refuse", by=by.actor, outcome=Outcome.REFUSED, place=place)
    raise errors.SecrecyMarked(place=place)


def _check_node(node: ClassificationNode) -> None:
    try:
        CodeProfile.load().compose(node.code, 1)
    except ResourceCodeWrong:
        raise errors.ClassTooHigh(
            node=str(node), field="node", label=CatalogueEntry._meta.get_field("node").verbose_name
        ) from None  # type: ignore[union-attr]


def _cleaned(fields: Fields, items: Items) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    values, found = clean_entry(fields)
    if "name" in fields and not values.get("name") and not found:
        found.append(errors.FieldMissing(field="name", label=label("name")))
    item_values, item_findings = clean_items(items)
    if found or item_findings:
        raise errors.Findings([*found, *item_findings])
    if values.get("format_class") and values.get("format_type"):
        values["format_type"] = known_type(values["format_class"], values["format_type"]) or values["format_type"]
    return values, item_values


def _write(version: EntryVersion, values: Fields, items: Items | None) -> None:
    for name, value in values.items():
        setattr(version, name, value)
    version.changed_at = moments.now()
    version.save()
    if items is not None:
        version.items.all().delete()
        DataItem.objects.bulk_create(
            DataItem(version=version, position=position, **item) for position, item in enumerate(items, start=1)
        )


def _gaps(version: EntryVersion) -> list[InvalidInput]:
    items = content.item_values(version.items.order_by("position"))
    found = completeness.findings(content.values_of(version), items, on=moments.today())
    if queries.name_taken(version.entry.node, version.name, by_other_than=version.entry):
        found.append(errors.NameTaken(field="name", label=label("name")))
    return found


def _locked(version: EntryVersion) -> EntryVersion:
    return (
        EntryVersion.objects.select_for_update(of=("self",))
        .select_related("entry__provider__region", "entry__node", "entry__live_version", "compiled_by")
        .get(pk=version.pk)
    )


def _locked_entry(entry: CatalogueEntry) -> CatalogueEntry:
    return (
        CatalogueEntry.objects.select_for_update(of=("self",))
        .select_related("provider__region", "node", "live_version")
        .get(pk=entry.pk)
    )


def _move(version: EntryVersion, to: VersionState, *changed: str) -> None:
    rules.check_move(version, to)
    version.state = to
    version.changed_at = moments.now()
    version.save(update_fields=["state", "changed_at", *changed])


def _return(version: EntryVersion, by: Post, reason: str, action: str) -> EntryVersion:
    version.return_reason = _reason(reason)
    _move(version, VersionState.RETURNED, "return_reason")
    trail.record(action, by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    compiler = version.compiled_by
    clock = desk_queries.running_clock(subject(version), UPDATE_CLOCK)
    desk.open_todo(
        kind="catalogue.returned",
        title=_("修改退回的目录：%s") % version.name,
        organisation=version.entry.provider,
        role=compiler.role,
        about=subject(version),
        clock=clock,
    )
    return version


def _reason(text: str) -> str:
    if not text.strip():
        raise errors.ReasonMissing
    return text.strip()


def _sign(kind: SignOffKind, version: EntryVersion, by: Post, approved: bool, opinion: str) -> None:
    desk.sign(
        kind,
        about=subject(version),
        by=by,
        approved=approved,
        opinion=opinion if approved else _reason(opinion),
        content=content.signed_bytes(version),
    )


def _check_signed(version: EntryVersion) -> None:
    """The head's last signature since submission is of exactly this content."""
    signature = (
        SignOff.objects.filter(
            about_type=subject(version).type,
            about_id=subject(version).id,
            kind=SignOffKind.CATALOGUE_HEAD,
            approved=True,
            signed_at__gte=version.submitted_at,
        )
        .order_by("-id")
        .first()
    )
    if (
        signature is None
        or signature.digest != suite(settings.CRYPTO_SUITE).digest(content.signed_bytes(version)).hex()
    ):
        raise errors.HeadSignatureMissing


def _open_todo(
    version: EntryVersion, kind: str, title: str, organisation: Organisation, role: Role, clock: Clock | None = None
) -> None:
    desk.open_todo(
        kind=kind,
        title=title % version.name,
        organisation=organisation,
        role=role,
        about=subject(version),
        clock=clock or desk_queries.running_clock(subject(version), UPDATE_CLOCK),
    )


def _stop_clocks(version: EntryVersion, by: Post, keys: set[str] | None = None) -> None:
    for key in keys or {UPDATE_CLOCK, REVIEW_CLOCK}:
        clock = desk_queries.running_clock(subject(version), key)
        if clock is not None:
            desk.stop_clock(clock, on=moments.today(), by=by)

"""Review, signature, publication and withdrawal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.accounts.queries import authority_of
from jinqiao.audit import trail
from jinqiao.audit.trail import subject
from jinqiao.catalogue import completeness, content, errors, queries, rules, search, signals
from jinqiao.catalogue.actions.steps import (
    REVIEW_CLOCK,
    check_signed,
    cleaned,
    gaps,
    locked,
    locked_entry,
    move,
    open_todo,
    reason_given,
    refuse_secrets,
    return_to_compiler,
    sign,
    stop_clocks,
    write,
)
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, EntryVersion
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.resource_code import CodeProfile
from jinqiao.kernel.rulesets import ruleset, ruleset_for
from jinqiao.workflow import actions as desk
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import Clock


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


@transaction.atomic
def review_as_department(version: EntryVersion, *, by: Post, approved: bool, opinion: str = "") -> EntryVersion:
    """The department's administrator passes the version to the head or returns it with a reason.

    Raises NotReviewer, NotProvider, OwnWork, VersionNotReady, ReasonMissing.
    """
    version = locked(version)
    rules.check_may_review_as_department(by, version)
    sign(SignOffKind.CATALOGUE_DEPARTMENT, version, by, approved, opinion)
    if not approved:
        return return_to_compiler(version, by, opinion, "catalogue.version.return")
    move(version, VersionState.HEAD_SIGNATURE)
    trail.record("catalogue.version.pass_department", by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    open_todo(version, "catalogue.head_signature", _("签发目录：%(name)s"), version.entry.provider, Role.HEAD)
    return version


def sign_as_head(
    version: EntryVersion, *, by: Post, approved: bool, opinion: str = "", assessments: Assessments | None = None
) -> EntryVersion:
    """The head signs the content with both assessments, or returns it; then the authority's clock starts.

    Raises NotReviewer, NotProvider, OwnWork, VersionNotReady, ReasonMissing, NoAuthority, SecrecyMarked, and Findings where
    an assessment is missing.
    """
    if approved and assessments is not None:
        refuse_secrets(assessments.as_fields(), (), by=by)
    with transaction.atomic():
        return _sign_as_head(version, by, approved, opinion, assessments)


def _sign_as_head(
    version: EntryVersion, by: Post, approved: bool, opinion: str, assessments: Assessments | None
) -> EntryVersion:
    version = locked(version)
    rules.check_may_sign_as_head(by, version)
    if approved and assessments is not None:
        values, _items = cleaned(assessments.as_fields(), ())
        write(version, values, None)
    if approved:
        missing = completeness.unassessed(content.values_of(version), ruleset(version.rule_set).publication)
        missing += gaps(version)
        if missing:
            raise errors.Findings(missing)
    sign(SignOffKind.CATALOGUE_HEAD, version, by, approved, opinion)
    if not approved:
        return return_to_compiler(version, by, opinion, "catalogue.version.return")
    authority = authority_of(version.entry.provider.region)
    if authority is None:
        raise errors.NoAuthority(provider=version.entry.provider.name)
    move(version, VersionState.AUTHORITY_REVIEW)
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
    open_todo(version, "catalogue.authority_review", _("审核发布目录：%(name)s"), authority, Role.BUREAU, clock)
    return version


@transaction.atomic
def review_as_authority(version: EntryVersion, *, by: Post, approved: bool, opinion: str = "") -> EntryVersion:
    """The authority publishes the version, with a code where the entry has none yet, or returns it with a reason.

    Raises NotReviewer, NotAuthority, OwnWork, VersionNotReady, ReasonMissing, HeadSignatureMissing, Findings.
    """
    version = locked(version)
    rules.check_may_review_as_authority(by, version)
    if approved:
        check_signed(version)
        missing = completeness.unassessed(content.values_of(version), ruleset(version.rule_set).publication)
        missing += gaps(version)
        if missing:
            raise errors.Findings(missing)
    sign(SignOffKind.CATALOGUE_AUTHORITY, version, by, approved, opinion)
    stop_clocks(version, by, keys=None if approved else {REVIEW_CLOCK})
    if not approved:
        return return_to_compiler(version, by, opinion, "catalogue.version.return")
    return _publish(version, by)


def _publish(version: EntryVersion, by: Post) -> EntryVersion:
    entry = version.entry = locked_entry(version.entry)
    rules.check_not_withdrawn(entry)
    if entry.code is None:
        _assign_code(entry)
    before = entry.live_version
    if before is not None:
        move(before, VersionState.SUPERSEDED)
    version.published_at = moments.now()
    version.released_on = version.released_on or moments.today()
    move(version, VersionState.PUBLISHED, "published_at", "released_on")
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
    entry = locked_entry(entry)
    rules.check_may_withdraw(by, entry)
    reason = reason_given(reason)
    work = queries.version_in_work(entry)
    if work is not None:
        if work.state not in rules.WITH_COMPILER:
            move(work, VersionState.RETURNED)
        move(work, VersionState.WITHDRAWN)
        stop_clocks(work, by)
        desk.finish_todos(subject(work), by=by)
    if entry.live_version is not None:
        entry.live_version.return_reason = reason
        move(entry.live_version, VersionState.WITHDRAWN, "return_reason")
    entry.live_version = None
    entry.withdrawn_at = moments.now()
    entry.save(update_fields=["live_version", "withdrawn_at"])
    search.remove(entry.pk)
    trail.record("catalogue.entry.withdraw", by=by.actor, about=subject(entry), reason=reason)
    signals.entry_withdrawn.send(sender=CatalogueEntry, entry=entry, by=by, reason=reason)
    return entry

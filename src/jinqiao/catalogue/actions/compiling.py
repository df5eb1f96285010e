"""Compiling: entries, drafts, revisions, submission."""

from __future__ import annotations

from datetime import date

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import subject
from jinqiao.catalogue import content, errors, queries, rules
from jinqiao.catalogue.actions.steps import (
    UPDATE_CLOCK,
    Fields,
    Items,
    check_node,
    cleaned,
    gaps,
    locked,
    locked_entry,
    move,
    open_todo,
    refuse_secrets,
    stop_clocks,
    write,
)
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, EntryVersion
from jinqiao.kernel import moments
from jinqiao.kernel.rulesets import ruleset_for
from jinqiao.workflow import actions as desk


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
    check_node(node)
    values, item_values = cleaned(fields, items)
    entry = CatalogueEntry.objects.create(provider=by.organisation, node=node, created_at=moments.now())
    version = EntryVersion(entry=entry, number=1, rule_set=ruleset_for(moments.today()).name, compiled_by=by)
    write(version, values, item_values)
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
        version = locked(version)
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
        check_node(node)
        version.entry.node = node
        version.entry.save(update_fields=["node"])
    values, item_values = cleaned(fields, items or ())
    version.compiled_by = by
    write(version, values, None if items is None else item_values)


@transaction.atomic
def start_revision(entry: CatalogueEntry, *, by: Post, changed_on: date | None = None) -> EntryVersion:
    """A draft copied from the live version, which stays in use until the draft is published.

    `changed_on`: the day on which the law, the decision or the department's duties changed; it starts the clock of the update
    (条例 第十七条). Raises NotCompiler, NotProvider, NothingPublished, RevisionInWork.
    """
    entry = locked_entry(entry)
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
    write(version, {}, content.item_values(live.items.all()))
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
    version = locked(version)
    rules.check_may_change(by, version)
    found = gaps(version)
    if found:
        raise errors.Findings(found)
    version.compiled_by = by
    version.rule_set = ruleset_for(moments.today()).name
    version.submitted_at = moments.now()
    version.return_reason = ""
    move(version, VersionState.DEPARTMENT_REVIEW, "compiled_by", "rule_set", "submitted_at", "return_reason")
    trail.record("catalogue.version.submit", by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    open_todo(
        version,
        "catalogue.department_review",
        _("审核目录：%(name)s"),
        version.entry.provider,
        Role.DEPARTMENT_ADMINISTRATOR,
    )
    return version


@transaction.atomic
def discard_draft(version: EntryVersion, *, by: Post) -> EntryVersion:
    """Give up a draft or a returned version. A live version stays in use; an entry that has none is withdrawn with it."""
    version = locked(version)
    rules.check_may_change(by, version)
    move(version, VersionState.WITHDRAWN)
    stop_clocks(version, by)
    desk.finish_todos(subject(version), by=by)
    if version.entry.live_version_id is None:
        version.entry.withdrawn_at = moments.now()
        version.entry.save(update_fields=["withdrawn_at"])
    trail.record("catalogue.version.discard", by=by.actor, about=subject(version), number=version.number)
    return version

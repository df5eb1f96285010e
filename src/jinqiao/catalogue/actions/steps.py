"""Steps that the actions on versions share. Each is called inside an action's transaction, on locked rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.audit.trail import subject
from jinqiao.catalogue import completeness, content, errors, queries, rules, secrecy
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.fields import clean_entry, clean_items, label
from jinqiao.catalogue.formats import known_type
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, DataItem, EntryVersion
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.identifiers.errors import ResourceCodeWrong
from jinqiao.kernel.identifiers.resource_code import CodeProfile
from jinqiao.workflow import actions as desk
from jinqiao.workflow import queries as desk_queries
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import Clock, SignOff

UPDATE_CLOCK = "catalogue.update"
REVIEW_CLOCK = "catalogue.authority_review"

Fields = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]


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


def check_node(node: ClassificationNode) -> None:
    try:
        CodeProfile.load().compose(node.code, 1)
    except ResourceCodeWrong:
        raise errors.ClassTooHigh(node=str(node), field="node", label=label("node", of=CatalogueEntry)) from None


def cleaned(fields: Fields, items: Items) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    values, found = clean_entry(fields)
    if "name" in fields and not values.get("name") and not found:
        found.append(errors.FieldMissing(field="name", label=label("name")))
    item_values, item_findings = clean_items(items)
    if found or item_findings:
        raise errors.Findings([*found, *item_findings])
    if values.get("format_class") and values.get("format_type"):
        values["format_type"] = known_type(values["format_class"], values["format_type"]) or values["format_type"]
    return values, item_values


def write(version: EntryVersion, values: Fields, items: Items | None) -> None:
    for name, value in values.items():
        setattr(version, name, value)
    version.changed_at = moments.now()
    version.save()
    if items is not None:
        version.items.all().delete()
        DataItem.objects.bulk_create(
            DataItem(version=version, position=position, **item) for position, item in enumerate(items, start=1)
        )


def gaps(version: EntryVersion) -> list[InvalidInput]:
    items = content.item_values(version.items.order_by("position"))
    found = completeness.findings(content.values_of(version), items, on=moments.today())
    if queries.name_taken(version.entry.node, version.name, by_other_than=version.entry):
        found.append(errors.NameTaken(field="name", label=label("name")))
    return found


def locked(version: EntryVersion) -> EntryVersion:
    """The version as it stands now. Its entry is locked first, as everywhere, so that two actions never wait for each other."""
    list(CatalogueEntry.objects.select_for_update().filter(pk=version.entry_id).values_list("pk"))
    return (
        EntryVersion.objects.select_for_update(of=("self",))
        .select_related("entry__provider__region", "entry__node", "entry__live_version", "compiled_by")
        .get(pk=version.pk)
    )


def locked_entry(entry: CatalogueEntry) -> CatalogueEntry:
    return (
        CatalogueEntry.objects.select_for_update(of=("self",))
        .select_related("provider__region", "node", "live_version")
        .get(pk=entry.pk)
    )


def move(version: EntryVersion, to: VersionState, *changed: str) -> None:
    rules.check_move(version, to)
    version.state = to
    version.changed_at = moments.now()
    version.save(update_fields=["state", "changed_at", *changed])


def return_to_compiler(version: EntryVersion, by: Post, reason: str, action: str) -> EntryVersion:
    version.return_reason = reason_given(reason)
    move(version, VersionState.RETURNED, "return_reason")
    trail.record(action, by=by.actor, about=subject(version), number=version.number)
    desk.finish_todos(subject(version), by=by)
    compiler = version.compiled_by
    clock = desk_queries.running_clock(subject(version), UPDATE_CLOCK)
    desk.open_todo(
        kind="catalogue.returned",
        title=gettext_noop("修改退回的目录：%(name)s") % {"name": version.name},
        organisation=version.entry.provider,
        role=compiler.role,
        about=subject(version),
        clock=clock,
    )
    return version


def reason_given(text: str) -> str:
    if not text.strip():
        raise errors.ReasonMissing
    return text.strip()


def sign(kind: SignOffKind, version: EntryVersion, by: Post, approved: bool, opinion: str) -> None:
    desk.sign(
        kind,
        about=subject(version),
        by=by,
        approved=approved,
        opinion=opinion if approved else reason_given(opinion),
        content=content.signed_bytes(version),
    )


def check_signed(version: EntryVersion) -> None:
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


def open_todo(
    version: EntryVersion, kind: str, title: str, organisation: Organisation, role: Role, clock: Clock | None = None
) -> None:
    desk.open_todo(
        kind=kind,
        title=title % {"name": version.name},
        organisation=organisation,
        role=role,
        about=subject(version),
        clock=clock or desk_queries.running_clock(subject(version), UPDATE_CLOCK),
    )


def stop_clocks(version: EntryVersion, by: Post, keys: set[str] | None = None) -> None:
    for key in keys or {UPDATE_CLOCK, REVIEW_CLOCK}:
        clock = desk_queries.running_clock(subject(version), key)
        if clock is not None:
            desk.stop_clock(clock, on=moments.today(), by=by)

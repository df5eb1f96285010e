"""Reading the catalogue: what is published, what a post may see, what waits for it, search with facets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from django.db.models import Case, Count, IntegerField, Prefetch, Q, QuerySet, Value, When
from django.db.models.functions import Length

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post, Region
from jinqiao.audit.trail import subject
from jinqiao.catalogue import errors
from jinqiao.catalogue import search as full_text
from jinqiao.catalogue.enums import SharingCategory, SharingMeans, UpdateCycle, VersionState
from jinqiao.catalogue.fields import plain_name
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, EntryVersion
from jinqiao.catalogue.rules import IN_WORK
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import Clock, SignOff

# --- entries and versions --------------------------------------------------------------------------------------------


def published() -> QuerySet[CatalogueEntry]:
    """Published entries with their live version, provider and class loaded."""
    return CatalogueEntry.objects.filter(
        live_version__state=VersionState.PUBLISHED, withdrawn_at__isnull=True
    ).select_related("live_version", "provider", "node")


def open_to_public() -> QuerySet[CatalogueEntry]:
    """Published entries that are open to society (开放目录)."""
    return published().filter(live_version__is_open=True)


def visible_to(post: Post | None) -> QuerySet[CatalogueEntry]:
    """Entries that a post may see: all published, its organisation's own in any state, to the authority those it reviews,
    to auditors all; without a post what is open to society."""
    if post is None:
        return open_to_public()
    entries = CatalogueEntry.objects.select_related("live_version", "provider__region", "node")
    if post.role == Role.AUDITOR:
        return entries
    seen = Q(live_version__state=VersionState.PUBLISHED, withdrawn_at__isnull=True)
    if post.role in {Role.OPERATOR, Role.COUNTY_CLERK, Role.DEPARTMENT_ADMINISTRATOR, Role.HEAD}:
        seen |= Q(provider=post.organisation_id)
    elif post.role == Role.BUREAU and post.organisation.is_authority:
        seen |= Q(provider__region__in=governed_regions(post.organisation))
    return entries.filter(seen)


def versions_visible_to(post: Post | None, entry: CatalogueEntry) -> QuerySet[EntryVersion]:
    """Versions of an entry that a reader may see, the newest first: work in hand only to the provider and its authority."""
    versions = entry.versions.select_related("compiled_by__person").order_by("-number")
    shown = [VersionState.PUBLISHED, VersionState.SUPERSEDED]
    if post is None:
        return versions.filter(state=VersionState.PUBLISHED)
    if sees_work(post, entry):
        return versions
    return versions.filter(state__in=shown)


def sees_work(post: Post | None, entry: CatalogueEntry) -> bool:
    """Whether drafts, reviews and reasons of an entry are for this reader."""
    if post is None:
        return False
    if post.role == Role.AUDITOR:
        return True
    if post.organisation_id == entry.provider_id:
        return post.role in {Role.OPERATOR, Role.COUNTY_CLERK, Role.DEPARTMENT_ADMINISTRATOR, Role.HEAD, Role.BUREAU}
    if post.role != Role.BUREAU or not post.organisation.is_authority:
        return False
    return entry.provider.region_id in governed_regions(post.organisation)


def version_in_work(entry: CatalogueEntry) -> EntryVersion | None:
    return entry.versions.filter(state__in=IN_WORK).select_related("compiled_by__person").first()


def version_for(post: Post, version_id: int) -> EntryVersion:
    """A version with what its pages and rules need, if the post may see it. Raises EntryNotFound."""
    version = (
        EntryVersion.objects.select_related(
            "entry__provider__region", "entry__node", "entry__live_version", "compiled_by__person"
        )
        .filter(pk=version_id)
        .first()
    )
    if version is None or not versions_visible_to(post, version.entry).filter(pk=version_id).exists():
        raise errors.EntryNotFound
    return version


def of_organisation(organisation: Organisation, *, state: str = "", text: str = "") -> QuerySet[CatalogueEntry]:
    """An organisation's entries, the latest changed first, each with `work` (its version in work, none or one) loaded.

    `state` is a version's state; `text` is looked for in names and codes.
    """
    in_work = EntryVersion.objects.filter(state__in=IN_WORK).order_by("-number")
    entries = (
        CatalogueEntry.objects.filter(provider=organisation)
        .select_related("live_version", "node")
        .prefetch_related(
            Prefetch("versions", queryset=in_work, to_attr="work"),
            Prefetch("versions", queryset=EntryVersion.objects.order_by("-number"), to_attr="all_versions"),
        )
        .order_by("-id")
    )
    if state:
        entries = entries.filter(pk__in=EntryVersion.objects.filter(state=state).values("entry_id"))
    if text:
        named = EntryVersion.objects.filter(name__icontains=text).values("entry_id")
        entries = entries.filter(Q(pk__in=named) | Q(code__startswith=text))
    return entries


def awaiting(post: Post) -> QuerySet[EntryVersion]:
    """Versions whose next step is this post's, the oldest first."""
    versions = EntryVersion.objects.select_related("entry__provider", "entry__node", "compiled_by__person").order_by(
        "changed_at", "id"
    )
    if post.role == Role.DEPARTMENT_ADMINISTRATOR:
        return versions.filter(state=VersionState.DEPARTMENT_REVIEW, entry__provider=post.organisation_id)
    if post.role == Role.HEAD:
        return versions.filter(state=VersionState.HEAD_SIGNATURE, entry__provider=post.organisation_id)
    if post.role == Role.BUREAU and post.organisation.is_authority:
        return versions.filter(
            state=VersionState.AUTHORITY_REVIEW, entry__provider__region__in=governed_regions(post.organisation)
        )
    return versions.none()


def governed_regions(authority: Organisation) -> set[int]:
    """Regions whose nearest authority this body is: its own, and those below that have none of their own."""
    governed = {authority.region_id}
    level = {authority.region_id}
    while level:
        below = set(
            Region.objects.filter(parent_id__in=level)
            .exclude(organisations__is_authority=True, organisations__is_active=True)
            .values_list("pk", flat=True)
        )
        level = below - governed
        governed |= level
    return governed


def name_taken(node: ClassificationNode, name: str, *, by_other_than: CatalogueEntry | None) -> bool:
    """Whether another entry of the class that is published or in work has the name, but for spaces and punctuation."""
    plain = plain_name(name)
    versions = EntryVersion.objects.filter(
        entry__node=node, entry__withdrawn_at__isnull=True, state__in=[*IN_WORK, VersionState.PUBLISHED]
    )
    if by_other_than is not None:
        versions = versions.exclude(entry=by_other_than)
    return any(plain_name(other) == plain for other in versions.values_list("name", flat=True).iterator())


def signatures(version: EntryVersion) -> QuerySet[SignOff]:
    return desk.sign_offs(subject(version))


def clocks(version: EntryVersion) -> QuerySet[Clock]:
    return desk.clocks_of(subject(version))


def classification(parent: ClassificationNode | None = None) -> QuerySet[ClassificationNode]:
    """Nodes below a node, or the roots."""
    return ClassificationNode.objects.filter(parent=parent).order_by("code")


# --- search with facets ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is narrowed to; empty means no narrowing. `node` is a class code: everything below it counts."""

    providers: frozenset[int] = frozenset()
    categories: frozenset[str] = frozenset()
    means: frozenset[str] = frozenset()
    cycles: frozenset[str] = frozenset()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a facet and how many entries it would give with the other filters as they are."""

    value: str
    label: str
    count: int
    selected: bool


class Found(Sequence[CatalogueEntry]):
    """Entries in order of relevance whose number is known: pages are cut without counting, and only their rows loaded."""

    def __init__(self, entries: QuerySet[CatalogueEntry], total: int) -> None:
        self.entries = entries
        self.total = total

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, at: int) -> CatalogueEntry: ...

    @overload
    def __getitem__(self, at: slice) -> list[CatalogueEntry]: ...

    def __getitem__(self, at: int | slice) -> CatalogueEntry | list[CatalogueEntry]:
        if isinstance(at, int):
            return self.entries[at]
        # the sort carries keys only; whole rows are read for the page
        keys = list(self.entries.values_list("pk", flat=True)[at])
        loaded = published().in_bulk(keys)
        return [loaded[key] for key in keys if key in loaded]


@dataclass(frozen=True, slots=True)
class Results:
    """`entries` in order of relevance, not yet cut into pages; `page_rows` are the same, to be cut."""

    entries: QuerySet[CatalogueEntry]
    total: int
    facets: dict[str, list[Option]] = field(default_factory=dict)

    @property
    def page_rows(self) -> Found:
        return Found(self.entries, self.total)


_ROW = (
    "provider_id",
    "live_version__sharing_category",
    "live_version__means",
    "live_version__update_cycle",
    "node__code",
)


def search(text: str = "", *, among: QuerySet[CatalogueEntry] | None = None, filters: Filters | None = None) -> Results:
    """Published entries that hold every word of `text` (Chinese, pinyin, initials, or the beginning of a code).

    Names that match come first: the same name, then names beginning with the text, then holding it, then holding its words.
    Without a text the latest published come first. `among` narrows what is searched (`open_to_public()` for citizens).
    """
    filters = filters or Filters()
    entries = published() if among is None else among
    text = text.strip()[:200]
    if text:
        entries = entries.filter(_matching(text))
    rows = list(entries.order_by().values_list(*_ROW).annotate(number=Count("pk")))
    facets, total = _facets(rows, filters)
    return Results(_ordered(_narrowed(entries, filters), text), total, facets)


def _matching(text: str) -> Q:
    if text.isascii() and text[0].isdigit():
        code = Q(code__startswith=text)
        found = full_text.matching(text)
        return code if found is None else code | found
    found = full_text.matching(text)
    return Q(live_version__name__icontains=text) if found is None else found


def _narrowed(entries: QuerySet[CatalogueEntry], filters: Filters) -> QuerySet[CatalogueEntry]:
    if filters.providers:
        entries = entries.filter(provider__in=filters.providers)
    if filters.categories:
        entries = entries.filter(live_version__sharing_category__in=filters.categories)
    if filters.means:
        entries = entries.filter(live_version__means__in=filters.means)
    if filters.cycles:
        entries = entries.filter(live_version__update_cycle__in=filters.cycles)
    if filters.node:
        entries = entries.filter(node__code__startswith=filters.node)
    return entries


def _ordered(entries: QuerySet[CatalogueEntry], text: str) -> QuerySet[CatalogueEntry]:
    if not text:
        return entries.order_by("-live_version__published_at", "-id")
    tiers = [
        When(live_version__name__iexact=text, then=Value(0)),
        When(live_version__name__istartswith=text, then=Value(1)),
        When(live_version__name__icontains=text, then=Value(2)),
    ]
    in_name = full_text.matching_name(text)
    if in_name is not None:
        tiers.append(When(in_name, then=Value(3)))
    return entries.annotate(
        tier=Case(*tiers, default=Value(4), output_field=IntegerField()), name_length=Length("live_version__name")
    ).order_by("tier", "name_length", "id")


def _facets(rows: Sequence[tuple[Any, ...]], filters: Filters) -> tuple[dict[str, list[Option]], int]:
    chosen = (filters.providers, filters.categories, filters.means, filters.cycles)
    counters: list[Counter[Any]] = [Counter() for _ in range(5)]
    total = 0
    for row in rows:
        fits = [not wanted or row[at] in wanted for at, wanted in enumerate(chosen)]
        fits.append(not filters.node or row[4].startswith(filters.node))
        misses = fits.count(False)
        if misses == 0:
            total += row[5]
        for at in range(5):
            # a facet counts what its other values would add: its own filter does not narrow it
            if misses == 0 or (misses == 1 and not fits[at]):
                counters[at][row[at] if at < 4 else row[at][:1]] += row[5]
    names = dict(Organisation.objects.filter(pk__in=counters[0]).values_list("pk", "short_name"))
    classes = dict(ClassificationNode.objects.filter(code__in=[*counters[4], filters.node]).values_list("code", "name"))
    if filters.node and filters.node not in counters[4]:
        counters[4][filters.node] = total
    facets = {
        "provider": [_option(pk, names.get(pk, ""), n, pk in filters.providers) for pk, n in counters[0].most_common()],
        "category": _listed(SharingCategory, counters[1], filters.categories),
        "means": _listed(SharingMeans, counters[2], filters.means),
        "cycle": _listed(UpdateCycle, counters[3], filters.cycles),
        "node": [
            _option(code, classes.get(code, code), n, code == filters.node) for code, n in sorted(counters[4].items())
        ],
    }
    return facets, total


def _option(value: Any, label: str, count: int, selected: bool) -> Option:
    return Option(str(value), label, count, selected)


def _listed(choices: Any, counter: Counter[Any], selected: frozenset[str]) -> list[Option]:
    return [
        Option(choice.value, str(choice.label), counter[choice.value], choice.value in selected)
        for choice in choices
        if counter[choice.value] or choice.value in selected
    ]

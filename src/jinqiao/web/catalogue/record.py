"""What the pages of an entry show: its fields, its items, its course, its place in the chain of facts, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.models import Post
from jinqiao.catalogue import queries
from jinqiao.catalogue.enums import SharingCategory, VersionState
from jinqiao.catalogue.fields import ENTRY_FIELDS, ITEM_FIELDS, label
from jinqiao.catalogue.models import CatalogueEntry, DataItem, EntryVersion
from jinqiao.exchange.models import Binding
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.web.components import Event, Pair, Step, Text
from jinqiao.web.formats import DASH, full_day
from jinqiao.web.navigation import may_enter, url_of
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import SignOff

REVIEW_COURSE: tuple[tuple[VersionState, Text], ...] = (
    (VersionState.DRAFT, gettext_lazy("编制")),
    (VersionState.DEPARTMENT_REVIEW, gettext_lazy("部门审核")),
    (VersionState.HEAD_SIGNATURE, gettext_lazy("第一责任人签发")),
    (VersionState.AUTHORITY_REVIEW, gettext_lazy("主管部门审核发布")),
)


def core_pairs(version: EntryVersion) -> list[Pair]:
    """Core fields as a key-value list."""
    entry = version.entry
    category = version.sharing_category
    shown = [
        Pair(_("提供方"), entry.provider.name, hint=version.provider_section),
        Pair(_("提供方代码"), entry.provider.credit_code, code=True),
        Pair(_("资源分类"), class_path(entry), wide=True),
        Pair(_("资源格式"), _joined(version.get_format_class_display(), version.format_type, version.format_note)),
        Pair(_("更新周期"), version.get_update_cycle_display()),
        Pair(_("共享方式"), _joined(version.get_means_class_display(), version.get_means_display())),
        Pair(_("发布日期"), full_day(version.released_on) if version.released_on else ""),
        Pair(_("向社会开放"), _("是") if version.is_open else _("否"), hint=version.open_condition),
        Pair(_("分类分级"), _joined(version.data_class, version.get_data_level_display())),
    ]
    if category == SharingCategory.NOT_SHARED:
        shown.append(Pair(_("不予共享依据"), version.refusal_basis, wide=True))
    else:
        shown.append(Pair(_("共享条件"), version.sharing_condition, wide=True))
    if version.related_codes:
        shown.append(Pair(_("关联资源代码"), version.related_codes, code=True, wide=True))
    shown.append(Pair(_("信息资源摘要"), version.abstract, wide=True))
    return shown


def survey_pairs(version: EntryVersion) -> list[Pair]:
    """The six volumes; empty where none was stated."""
    names = ("volume_gb", "records_10k", "shared_volume_gb", "shared_records_10k", "open_volume_gb", "open_records_10k")
    if all(getattr(version, name) is None for name in names):
        return []
    return [Pair(label(name), _figure(getattr(version, name))) for name in names]


def assessment_pairs(version: EntryVersion) -> list[Pair]:
    return [
        Pair(
            _("保密风险评估"),
            version.secrecy_risk_conclusion if version.secrecy_risk_assessed else _("尚未评估"),
            wide=True,
        ),
        Pair(_("个人信息"), version.get_personal_information_display(), wide=True),
        Pair(
            _("个人信息保护影响评估"),
            version.personal_information_conclusion if version.personal_information_assessed else _("尚未评估"),
            wide=True,
        ),
    ]


def class_path(entry: CatalogueEntry) -> str:
    """Names from 类 down to the entry's class."""
    names: list[str] = []
    node: Any = entry.node
    while node is not None:
        names.append(node.name)
        node = node.parent
    return " / ".join(reversed(names))


def chain(entry: CatalogueEntry, version: EntryVersion, post: Post | None, item_count: int) -> list[Step]:
    """The entry's place in the chain of facts, with links where the reader may enter."""
    here = Step(_("目录"), "now", _("%(count)d个数据项") % {"count": item_count}, note=_("第%d版") % version.number)
    if post is None or entry.live_version_id is None:
        return [here]
    binding = Binding.objects.select_related("source").filter(entry=entry).first()
    source = Step(
        _("数据源"),
        "done" if binding else "todo",
        binding.source.name
        if binding and post.organisation_id == entry.provider_id
        else _("已挂接")
        if binding
        else _("未挂接"),
        url=_if_may_enter(url_of("exchange:bind", entry.pk), post) if post.organisation_id == entry.provider_id else "",
    )
    asked = SharingRequest.objects.filter(entry=entry).exclude(state="draft").count()
    granted = Grant.objects.filter(entry=entry, state="active").count()
    return [
        source,
        here,
        Step(
            _("申请"),
            "done" if asked else "todo",
            _("%d件") % asked,
            url=_if_may_enter(url_of("sharing:requests"), post),
        ),
        Step(
            _("授权"),
            "done" if granted else "todo",
            _("%d项在用") % granted,
            url=_if_may_enter(url_of("sharing:grants"), post),
        ),
    ]


def course(version: EntryVersion) -> list[Step]:
    """How far a version is on its way to publication."""
    order = [state for state, _word in REVIEW_COURSE]
    state = VersionState(version.state)
    ended = state in (VersionState.PUBLISHED, VersionState.SUPERSEDED)
    at = len(order) if ended else order.index(state) if state in order else 0
    steps = [
        Step(word, "done" if number < at else "now" if number == at and state in order else "todo")
        for number, (_state, word) in enumerate(REVIEW_COURSE)
    ]
    if state == VersionState.RETURNED:
        steps[0] = Step(steps[0].label, "bad", _("退回修改"))
    return steps


SIGNED: dict[str, Text] = {
    SignOffKind.CATALOGUE_DEPARTMENT: gettext_lazy("部门审核"),
    SignOffKind.CATALOGUE_HEAD: gettext_lazy("第一责任人签发"),
    SignOffKind.CATALOGUE_AUTHORITY: gettext_lazy("主管部门审核"),
}


def sign_off_events(version: EntryVersion, signed: Sequence[SignOff]) -> list[Event]:
    """Who signed what when, the newest first, down to the submission."""
    events = [
        Event(
            f"{SIGNED.get(one.kind, one.kind)}{_('：同意') if one.approved else _('：退回')}",
            one.signed_at,
            f"{one.organisation_name} {one.person_name}",
            note=one.opinion,
        )
        for one in reversed(signed)
    ]
    if version.submitted_at:
        events.append(Event(_("提交"), version.submitted_at, version.compiled_by.person.name))
    return events


def version_events(
    versions: Sequence[EntryVersion], entry: CatalogueEntry, shown: EntryVersion
) -> list[dict[str, Any]]:
    """Versions with the address of each, the newest first."""
    url = reverse("catalogue:entry", args=[entry.pk])
    return [
        {"version": version, "url": f"{url}?version={version.number}", "is_shown": version.pk == shown.pk}
        for version in versions
    ]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions."""

    what: Text
    before: str
    after: str


def changes(before: EntryVersion | None, after: EntryVersion) -> list[Change]:
    """What a version changes against another: fields, then items by name."""
    if before is None or before.pk == after.pk:
        return []
    found = [
        Change(label(name), _shown(before, name), _shown(after, name))
        for name in ENTRY_FIELDS
        if getattr(before, name) != getattr(after, name)
    ]
    old = {item.name: item for item in before.items.all()}
    new = {item.name: item for item in after.items.all()}
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            found.append(Change(_("数据项 %s") % name, _item_words(old[name]), _("删去")))
        elif name not in old:
            found.append(Change(_("数据项 %s") % name, _("没有"), _item_words(new[name])))
        elif any(getattr(old[name], part) != getattr(new[name], part) for part in ITEM_FIELDS):
            found.append(Change(_("数据项 %s") % name, _item_words(old[name]), _item_words(new[name])))
    return found


def page_values(entry: CatalogueEntry, version: EntryVersion, post: Post | None) -> dict[str, Any]:
    """What the record of a version needs, for the entry's page and for review."""
    items = list(version.items.all())
    inside = queries.sees_work(post, entry)
    signed = list(queries.signatures(version)) if inside else []
    return {
        "entry": entry,
        "version": version,
        "items": items,
        "pairs": core_pairs(version),
        "survey": survey_pairs(version),
        "assessments": assessment_pairs(version) if inside else [],
        "personal_count": sum(item.personal_information != "none" for item in items),
        "inside": inside,
        "signed": sign_off_events(version, signed) if inside else [],
        "clocks": list(queries.clocks(version)) if inside else [],
    }


def _item_words(item: DataItem) -> str:
    size = "" if item.length is None else f"{item.length}" if item.scale is None else f"{item.length},{item.scale}"
    personal = "" if item.personal_information == "none" else item.get_personal_information_display()
    return _joined(item.code, item.get_data_type_display(), size, _("主键") if item.is_key else "", personal)


def _shown(version: EntryVersion, name: str) -> str:
    value = getattr(version, name)
    display = getattr(version, f"get_{name}_display", None)
    if display is not None:
        return str(display() or DASH)
    if isinstance(value, bool):
        return _("是") if value else _("否")
    return str(DASH if value in (None, "") else value)


def _joined(*words: Any) -> str:
    return _("，").join(str(word) for word in words if word)


def _figure(value: Any) -> str:
    return "" if value is None else f"{value.normalize():f}"


def _if_may_enter(url: str, post: Post) -> str:
    return url if may_enter(url, post) else ""

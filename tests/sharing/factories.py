"""Makers for requests and grants: two departments with their people, a published entry, requests driven to a state."""

import itertools
from dataclasses import dataclass
from datetime import date
from typing import Any

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.catalogue.enums import ItemType, PersonalInformation, SharingCategory, VersionState
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, DataItem, EntryVersion
from jinqiao.kernel import moments
from jinqiao.sharing import actions
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.models import Grant, SharingRequest
from tests.factories import make_authority, make_organisation, make_post

_sequence = itertools.count(1)

ITEMS = (
    ("xm", "姓名", ItemType.CHARACTER, 50, None, PersonalInformation.ORDINARY),
    ("sfzh", "公民身份号码", ItemType.CHARACTER, 18, None, PersonalInformation.SENSITIVE),
    ("djrq", "登记日期", ItemType.DATE, None, None, PersonalInformation.NONE),
    ("je", "金额", ItemType.NUMERIC, 12, 2, PersonalInformation.NONE),
    ("yx", "是否有效", ItemType.LOGICAL, None, None, PersonalInformation.NONE),
    ("qh", "区划代码", ItemType.CHARACTER, 6, None, PersonalInformation.NONE),
)


def make_entry(
    provider: Organisation,
    compiled_by: Post,
    *,
    category: str = SharingCategory.CONDITIONAL,
    name: str = "婚姻登记信息",
) -> CatalogueEntry:
    """A published entry with the six `ITEMS`."""
    number = next(_sequence)
    node, _ = ClassificationNode.objects.get_or_create(code="3070010001", defaults={"name": "民政", "level": 4})
    entry = CatalogueEntry.objects.create(
        provider=provider, node=node, sequence=number, code=f"3070010001/{number}", created_at=moments.now()
    )
    entry.live_version = make_version(entry, compiled_by, category=category, name=f"{name}{number}")
    entry.save()
    return entry


def make_version(
    entry: CatalogueEntry,
    compiled_by: Post,
    *,
    category: str = SharingCategory.CONDITIONAL,
    name: str = "婚姻登记信息",
    items: tuple[tuple[Any, ...], ...] = ITEMS,
) -> EntryVersion:
    """A published version; one that is published already becomes superseded."""
    entry.versions.filter(state=VersionState.PUBLISHED).update(state=VersionState.SUPERSEDED)
    version = EntryVersion.objects.create(
        entry=entry,
        number=entry.versions.count() + 1,
        state=VersionState.PUBLISHED,
        rule_set="rules-2025",
        name=name,
        abstract="婚姻登记机关办理的结婚、离婚登记",
        format_class="3",
        format_type="PostgreSQL",
        sharing_category=category,
        sharing_condition="用于核验婚姻状况" if category == SharingCategory.CONDITIONAL else "",
        refusal_basis="《中华人民共和国统计法》第十一条" if category == SharingCategory.NOT_SHARED else "",
        update_cycle="daily",
        compiled_by=compiled_by,
        changed_at=moments.now(),
        published_at=moments.now(),
    )
    DataItem.objects.bulk_create(
        DataItem(
            version=version,
            position=position,
            code=code,
            name=item_name,
            data_type=data_type,
            length=length,
            scale=scale,
            personal_information=personal,
        )
        for position, (code, item_name, data_type, length, scale, personal) in enumerate(items, start=1)
    )
    return version


@dataclass
class Parties:
    """A consumer and a provider with their people, the authority over both, and an entry of the provider's."""

    consumer: Organisation
    asker: Post
    consumer_head: Post
    provider: Organisation
    clerk: Post
    provider_head: Post
    bureau: Post
    entry: CatalogueEntry


def make_parties(*, category: str = SharingCategory.CONDITIONAL) -> Parties:
    consumer, provider = make_organisation("金昌市住房和城乡建设局"), make_organisation("金昌市民政局")
    clerk = make_post(Role.OPERATOR, provider, name="孙晓燕")
    return Parties(
        consumer=consumer,
        asker=make_post(Role.OPERATOR, consumer, name="周启明"),
        consumer_head=make_post(Role.HEAD, consumer, name="何雅琴"),
        provider=provider,
        clerk=clerk,
        provider_head=make_post(Role.HEAD, provider, name="王海峰"),
        bureau=make_post(Role.BUREAU, make_authority(), name="陈思远"),
        entry=make_entry(provider, clerk, category=category),
    )


def fields(**changes: Any) -> dict[str, Any]:
    """A complete request for four items by query."""
    return {
        "basis": "《公共租赁住房管理办法》第七条；权责清单“公租房资格审核”",
        "scenario": "审核公租房资格时核对婚姻状况，申请人不再提交结婚证复印件",
        "scope": "市住建局住房保障科",
        "mode": "interface",
        "items": ["xm", "sfzh", "djrq", "qh"],
        "row_filter": [{"item": "qh", "operator": "in", "values": ["620302", "620321"]}],
        "row_scope": "金川区和永昌县的登记",
        "purposes": ["公租房资格审核"],
        "case_number_required": True,
        "use_from": date(2026, 4, 1),
        "use_until": date(2027, 3, 31),
        **changes,
    }


def make_request(
    parties: Parties,
    state: RequestState = RequestState.DRAFT,
    *,
    decision: dict[str, Any] | None = None,
    **changes: Any,
) -> SharingRequest:
    """A request driven by the real actions to a state on the way to a grant or a refusal."""
    request = actions.draft_request(parties.entry, by=parties.asker, fields=fields(**changes))
    if state == RequestState.DRAFT:
        return request
    request = actions.submit_request(request, by=parties.asker)
    if state == RequestState.HEAD_APPROVAL:
        return request
    request = actions.approve_request(request, by=parties.consumer_head, approved=True, opinion="同意申请")
    if state == RequestState.AWAITING_REPLY:
        return request
    if state == RequestState.AWAITING_PAPERS:
        return actions.ask_for_papers(request, by=parties.clerk, missing="权责清单复印件")
    if state == RequestState.WITHDRAWN:
        return actions.withdraw_request(request, by=parties.asker, reason="改用统计数据")
    refusal = {"agrees": False, "article": "article-25", "reason": "公租房审核不需要登记日期"}
    actions.draft_decision(
        request, by=parties.clerk, **(decision or (refusal if state == RequestState.REFUSED else {"agrees": True}))
    )
    if state != RequestState.REPLY_APPROVAL:
        actions.approve_decision(request, by=parties.provider_head, approved=True, opinion="同意")
    request.refresh_from_db()
    return request


def make_grant(parties: Parties, *, decision: dict[str, Any] | None = None, **changes: Any) -> Grant:
    request = make_request(parties, RequestState.GRANTED, decision=decision, **changes)
    return request.grants.get()

"""Makers of catalogue things: a department with its cast, classes, entries in every state."""

import itertools
from dataclasses import dataclass
from typing import Any

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.accounts.queries import authority_of
from jinqiao.catalogue import actions
from jinqiao.catalogue.actions import Assessments
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, EntryVersion
from tests.factories import make_authority, make_organisation, make_post, make_region

_counter = itertools.count(1)

ASSESSED = Assessments(
    secrecy_risk_conclusion="经保密审查，不涉及国家秘密和工作秘密。",
    personal_information="ordinary",
    personal_information_conclusion="只含法定代表人姓名，已按最小必要确定范围。",
)

FIELDS: dict[str, Any] = {
    "name": "企业注册登记信息",
    "provider_section": "登记注册科",
    "abstract": "全市各类企业设立、变更登记的当前有效信息。",
    "format_class": "3",
    "format_type": "KingbaseES",
    "sharing_category": "2",
    "sharing_condition": "用于行政许可和监管执法，不得转交第三方。",
    "means_class": "platform",
    "means": "interface",
    "is_open": False,
    "update_cycle": "daily",
    "released_on": "2026-03-02",
    "data_class": "市场监管",
    "data_level": "2",
}

ITEMS: list[dict[str, Any]] = [
    {
        "name": "统一社会信用代码",
        "code": "TYSHXYDM",
        "data_type": "C",
        "length": 18,
        "is_key": True,
        "is_required": True,
    },
    {"name": "主体名称", "code": "ZTMC", "data_type": "C", "length": 200},
    {"name": "法定代表人姓名", "data_type": "C", "length": 60, "personal_information": "ordinary"},
    {"name": "注册资本", "data_type": "Y", "length": 16, "scale": 4},
    {"name": "成立日期", "data_type": "D"},
]


@dataclass(frozen=True)
class Cast:
    """A department and those who work on its catalogue, with the authority's clerk."""

    organisation: Organisation
    operator: Post
    administrator: Post
    head: Post
    bureau: Post


def make_cast(name: str | None = None) -> Cast:
    region = make_region()
    authority = authority_of(region) or make_authority()
    organisation = make_organisation(name)
    return Cast(
        organisation,
        make_post(Role.OPERATOR, organisation),
        make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation),
        make_post(Role.HEAD, organisation),
        make_post(Role.BUREAU, authority),
    )


def make_node(
    code: str = "3070110403", name: str = "金昌市", parent: ClassificationNode | None = None
) -> ClassificationNode:
    node, _ = ClassificationNode.objects.get_or_create(
        code=code,
        defaults={"name": name, "parent": parent, "level": 4 if len(code) > 6 else (1, 2, 2, 3, 3, 3)[len(code) - 1]},
    )
    return node


def make_draft(cast: Cast, node: ClassificationNode | None = None, items: Any = None, **fields: Any) -> EntryVersion:
    values = {**FIELDS, "name": f"企业注册登记信息第{next(_counter)}类", **fields}
    return actions.create_entry(
        by=cast.operator, node=node or make_node(), fields=values, items=ITEMS if items is None else items
    )


def make_submitted(cast: Cast, **fields: Any) -> EntryVersion:
    return actions.submit(make_draft(cast, **fields), by=cast.operator)


def make_reviewed(cast: Cast, **fields: Any) -> EntryVersion:
    return actions.review_as_department(make_submitted(cast, **fields), by=cast.administrator, approved=True)


def make_signed(cast: Cast, **fields: Any) -> EntryVersion:
    return sign(make_reviewed(cast, **fields), cast)


def make_published(cast: Cast, **fields: Any) -> CatalogueEntry:
    return publish(make_signed(cast, **fields), cast)


def sign(version: EntryVersion, cast: Cast) -> EntryVersion:
    return actions.sign_as_head(version, by=cast.head, approved=True, assessments=ASSESSED)


def publish(version: EntryVersion, cast: Cast) -> CatalogueEntry:
    return actions.review_as_authority(version, by=cast.bureau, approved=True).entry


def publish_draft(version: EntryVersion, cast: Cast) -> CatalogueEntry:
    """Through all four steps."""
    version = actions.submit(version, by=cast.operator)
    version = actions.review_as_department(version, by=cast.administrator, approved=True)
    return publish(sign(version, cast), cast)

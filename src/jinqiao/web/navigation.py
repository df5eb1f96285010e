"""The side navigation, declared as data. Groups follow the chain of facts; the order never changes with the role.

An item shows where its address exists and the acting post may enter it: the right is read from the view itself, so that
navigation and access cannot drift apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from django.urls import NoReverseMatch, ResolverMatch, resolve, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.web.access import READERS
from jinqiao.web.components import Text


@dataclass(frozen=True, slots=True)
class Item:
    """One entry. `covers` are patterns of URL names whose pages stand below it."""

    label: Text
    name: str
    covers: tuple[str, ...] = ()
    roles: frozenset[Role] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    label: Text
    items: tuple[Item, ...]


GROUPS: tuple[Group, ...] = (
    Group(_("工作台"), (Item(_("待办"), "desk"), Item(_("我经办的"), "desk_done"))),
    Group(
        _("目录"),
        (
            Item(_("目录检索"), "catalogue:search", ("catalogue:entry*", "catalogue:export"), READERS),
            Item(
                _("本部门目录"),
                "catalogue:mine",
                ("catalogue:new", "catalogue:edit*", "catalogue:*"),
            ),
            Item(_("填报与导入"), "catalogue:import", ("catalogue:import*", "catalogue:template*")),
            Item(_("目录审核"), "catalogue:review_list", ("catalogue:review*",)),
            Item(_("分类体系"), "catalogue:classification", ("catalogue:classification*",)),
        ),
    ),
    Group(
        _("共享"),
        (
            Item(
                _("共享申请"), "sharing:requests", ("sharing:request*", "sharing:new*", "sharing:decide*", "sharing:*")
            ),
            Item(_("授权与使用"), "sharing:grants", ("sharing:grant*",)),
        ),
    ),
    Group(
        _("流转"),
        (
            Item(_("流转总览"), "exchange:monitor"),
            Item(
                _("交换任务"),
                "exchange:tasks",
                ("exchange:task*", "exchange:run*", "exchange:quarantine*", "exchange:*"),
            ),
            Item(_("告警"), "exchange:alerts", ("exchange:alert*",)),
            Item(_("查询服务"), "exchange:services", ("exchange:service*",)),
            Item(
                _("调用监督"),
                "exchange:calls",
                (
                    "exchange:call*",
                    "exchange:anomal*",
                    "exchange:sampl*",
                    "exchange:pack*",
                    "exchange:disclosures*",
                    "exchange:unused",
                ),
            ),
            Item(_("数据源与挂接"), "exchange:sources", ("exchange:source*", "exchange:bind*", "exchange:transform*")),
            Item(pgettext_lazy("list", "节点"), "exchange:nodes", ("exchange:node*",)),
        ),
    ),
    Group(_("督办"), (Item(_("驾驶舱"), "dashboard", ("dashboard_*",)),)),
    Group(
        _("管理"),
        (
            Item(
                pgettext_lazy("list", "机构"),
                "accounts:organisations",
                ("accounts:organisation*", "accounts:region*", "accounts:section*"),
            ),
            Item(_("人员与岗位"), "accounts:people", ("accounts:person*", "accounts:post*", "accounts:*")),
            Item(_("应用与密钥"), "accounts:applications", ("accounts:application*", "accounts:key*")),
            Item(_("人员标识密钥"), "exchange:subject_key", ("exchange:subject_key*",)),
            Item(_("工作日历"), "accounts:calendar", ("accounts:calendar*",)),
            Item(_("日志与证据"), "audit:events", ("audit:*",)),
        ),
    ),
)

FIRST_PAGES: dict[str, tuple[str, ...]] = {
    Role.LEADER: ("dashboard",),
    Role.AUDITOR: ("audit:events",),
    Role.DEVELOPER: ("accounts:applications",),
    Role.SYSTEM_ADMINISTRATOR: ("accounts:organisations",),
    Role.SECURITY_ADMINISTRATOR: ("accounts:people",),
    Role.AUDIT_ADMINISTRATOR: ("audit:events",),
}
"""Where a role begins, if not at its desk."""


@dataclass(frozen=True, slots=True)
class Link:
    """An item as one post sees it."""

    item: Item
    url: str
    is_current: bool

    @property
    def label(self) -> Text:
        return self.item.label


@dataclass(frozen=True, slots=True)
class LinkGroup:
    label: Text
    links: tuple[Link, ...]


def url_of(name: str, *arguments: object) -> str:
    """The address of a URL name, or "" where no page has landed under it."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""


def may_enter(url: str, post: Post | None) -> bool:
    """Whether the view behind an address of ours lets the post in, by its own declaration."""
    if not url:
        return False
    access = getattr(resolve(url).func, "access", None)
    if access in ("public", "signed_in"):
        return True
    if post is None or access is None:
        return False
    return access == "any_post" or post.role in access


def groups_for(post: Post | None, match: ResolverMatch | None) -> tuple[LinkGroup, ...]:
    """The navigation of a post, without empty groups, with the item marked that the page stands below."""
    current = current_item(match)
    groups = []
    for group in GROUPS:
        links = tuple(_links(group, post, current))
        if links:
            groups.append(LinkGroup(group.label, links))
    return tuple(groups)


def _links(group: Group, post: Post | None, current: Item | None) -> Iterator[Link]:
    for item in group.items:
        if item.roles is not None and (post is None or post.role not in item.roles):
            continue
        url = url_of(item.name)
        if may_enter(url, post):
            yield Link(item, url, item is current)


def current_item(match: ResolverMatch | None) -> Item | None:
    """The item that a page stands below: its own, else the one with the longest covering pattern."""
    if match is None:
        return None
    name = match.view_name
    best: tuple[int, Item] | None = None
    for group in GROUPS:
        for item in group.items:
            if item.name == name:
                return item
            for pattern in item.covers:
                if fnmatchcase(name, pattern) and (best is None or len(pattern) > best[0]):
                    best = (len(pattern), item)
    return best[1] if best else None


def group_of(item: Item) -> Group:
    return next(group for group in GROUPS if item in group.items)


def first_page(post: Post | None) -> str:
    """Where somebody lands after signing in or switching posts."""
    if post is not None:
        for name in FIRST_PAGES.get(post.role, ()):
            url = url_of(name)
            if may_enter(url, post):
                return url
    return reverse("desk")

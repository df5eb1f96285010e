"""Where one goes to act on a thing: `about_type` of to-dos, clocks and audit events to the page that shows it.

A package above the desk is named here by text only; a page that has not landed gives "" and the to-do stands without link.
"""

from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.web.components import Text
from jinqiao.web.navigation import may_enter, url_of


@dataclass(frozen=True, slots=True)
class Target:
    """`name` takes the thing's id; `by_kind` names other pages for some kinds of to-do (the longest prefix wins).

    `heading` is what the desk groups such to-dos under.
    """

    name: str
    heading: Text
    by_kind: dict[str, str] = field(default_factory=dict)

    def name_for(self, kind: str) -> str:
        found = [prefix for prefix in self.by_kind if kind.startswith(prefix)]
        return self.by_kind[max(found, key=len)] if found else self.name


TARGETS: dict[str, Target] = {
    "catalogue.catalogueentry": Target("catalogue:entry", _("目录")),
    "catalogue.entryversion": Target("catalogue:review", _("目录审核"), {"catalogue.returned": "catalogue:edit"}),
    "catalogue.importbatch": Target("catalogue:import_result", _("目录导入")),
    "sharing.sharingrequest": Target("sharing:request", _("共享申请"), {"sharing.request.reply": "sharing:decide"}),
    "sharing.grant": Target("sharing:grant", _("授权")),
    "exchange.node": Target("exchange:node", _("节点"), {"exchange.node.approval": "exchange:node_approve"}),
    "exchange.datasource": Target("exchange:source", _("数据源")),
    "exchange.exchangetask": Target(
        "exchange:task", _("交换任务"), {"exchange.reload.approve": "exchange:task_reload_decide"}
    ),
    "exchange.run": Target("exchange:run", _("交换运行")),
    "exchange.alert": Target("exchange:alert", _("告警")),
    "exchange.alertchannel": Target("exchange:alert_channels", _("告警通道")),
    "exchange.anomaly": Target("exchange:anomaly", _("调用异常")),
    "exchange.sampledcall": Target("exchange:sample", _("抽查")),
    "exchange.sampling": Target("exchange:sampling", _("抽查期")),
    "exchange.queryservice": Target("exchange:service", _("查询服务")),
    "accounts.organisation": Target("accounts:organisation", _("机构")),
    "accounts.person": Target("accounts:person", _("人员")),
}


def target_url(about_type: str, about_id: str, kind: str = "") -> str:
    """The address of the page about a thing, "" where there is none."""
    target = TARGETS.get(about_type)
    if target is None:
        return ""
    return url_of(target.name_for(kind), about_id) or url_of(target.name, about_id)


def page_for(post: Post | None, about_type: str, about_id: str, kind: str = "") -> str:
    """The page where this post may act on a thing, else where it may see it, else ""."""
    for wanted in dict.fromkeys((kind, "")):
        url = target_url(about_type, about_id, wanted)
        if may_enter(url, post):
            return url
    return ""


def heading_of(about_type: str) -> Text:
    target = TARGETS.get(about_type)
    return target.heading if target else _("其他")

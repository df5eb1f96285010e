"""What a rule of alerts finds."""

from dataclasses import dataclass, field
from typing import Any

from jinqiao.accounts.models import Organisation
from jinqiao.audit import trail
from jinqiao.exchange.actions.alerting import node_key
from jinqiao.exchange.models import ExchangeTask, Node, Run
from jinqiao.exchange.queries.alerts import Rule


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a rule found: what `open_alert` takes."""

    key: str
    rule: Rule
    organisation: Organisation
    title: str
    about: trail.Subject
    task: ExchangeTask | None = None
    run: Run | None = None
    node: Node | None = None
    details: dict[str, Any] = field(default_factory=dict)


def of_node(node: Node, rule: Rule, title: str, *, organisation: Organisation | None = None, **details: Any) -> Found:
    """What is amiss with a node; `organisation` answers for it, else that of the node. `title` has a place `name`."""
    return Found(
        key=node_key(node),
        rule=rule,
        organisation=organisation or node.organisation,
        title=title % {"name": node.name},
        about=trail.subject(node),
        node=node,
        details=details,
    )

"""What gateways tell of themselves, and of the departments' HTTP services that they probe."""

import re
from dataclasses import replace

from django.db import transaction

from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import NodeKindWrong
from jinqiao.exchange.models import Node, QueryService
from jinqiao.kernel.contracts.health import GatewayState, ServicesHealth

_PROBLEM = re.compile(r"[A-Za-z0-9_. ]{0,60}", re.ASCII)


@transaction.atomic
def note_health(gateway: Node, told: ServicesHealth) -> int:
    """Keep what a gateway says of its own services, the latest of each; of how many. Raises NodeKindWrong."""
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    of = {one.service: one for one in told.services}
    services = list(QueryService.objects.filter(gateway=gateway, number__in=list(of)).order_by("id"))
    for service in services:
        one = of[service.number]
        problem = one.problem if _PROBLEM.fullmatch(one.problem) else "other"
        service.source_health = replace(one, problem=problem).to_json()
    QueryService.objects.bulk_update(services, ["source_health"], batch_size=200)
    return len(services)


def note_state(gateway: Node, told: GatewayState) -> None:
    """Keep what a gateway says of its policy and its evidence: the latest word. Raises NodeKindWrong."""
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    problem = told.anchor_problem if _PROBLEM.fullmatch(told.anchor_problem) else "other"
    Node.objects.filter(pk=gateway.pk).update(gateway_state=replace(told, anchor_problem=problem).to_json())

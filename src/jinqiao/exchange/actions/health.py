"""What gateways tell of themselves, and of the departments' HTTP services that they probe."""

import re
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import transaction

from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import NodeKindWrong
from jinqiao.exchange.models import Node, QueryService
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.health import GatewayState, ServicesHealth

ONE_STRETCH = timedelta(minutes=5)
"""Words of a gateway, which come each minute, belong together up to this."""
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


@transaction.atomic
def note_state(gateway: Node, told: GatewayState) -> None:
    """Keep what a gateway says of its policy and its evidence: the latest word, and since when, in one stretch of words, the same
    record has been the oldest that waits. Right after a time without contact much waits and nothing is amiss. Raises NodeKindWrong."""
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    problem = told.anchor_problem if _PROBLEM.fullmatch(told.anchor_problem) else "other"
    told, now = replace(told, anchor_problem=problem), moments.now()
    row = Node.objects.select_for_update(of=("self",)).get(pk=gateway.pk)
    before = row.gateway_state
    waiting_from = ""
    if told.waiting_since is not None:
        goes_on = bool(before) and now - datetime.fromisoformat(before["heard_at"]) < ONE_STRETCH
        is_same = goes_on and before["told"].get("waiting_since") == told.to_json()["waiting_since"]
        waiting_from = before["waiting_from"] if is_same else now.isoformat()
    row.gateway_state = {"told": told.to_json(), "heard_at": now.isoformat(), "waiting_from": waiting_from}
    row.save(update_fields=["gateway_state"])

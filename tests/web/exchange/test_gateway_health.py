"""What the page of a gateway says of its policy and its evidence."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.exchange import actions
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.health import GatewayState
from tests.exchange.factories import Served
from tests.exchange.test_anchors import anchor_of, answer, offer, shipped, witness_of

pytestmark = pytest.mark.django_db


def text_of(enter: Any, served: Served) -> str:
    client = enter(served.world.parties.bureau)
    return str(client.get(reverse("exchange:node", args=[served.gateway.node.pk])).content.decode())


def test_a_gateway_of_an_earlier_release_is_shown_by_what_came_here(enter: Any, served: Served, tmp_path: Path) -> None:
    snapshot = served.policy()
    assert snapshot is not None
    text = text_of(enter, served)
    assert f"平台最新第{snapshot.version}版，网关未报告" in text
    assert "还没有收到记录" in text
    assert "没有报告；升级网关程序后显示" in text

    hands = witness_of(served)
    (_first, last) = shipped(served)
    offer(served, anchor_of(served, last))
    assert "还没有其他部门的节点副署" in text_of(enter, served)
    hands.answer(answer(hands, next(c for c in hands.poll() if c.anchor is not None), tmp_path))
    text = text_of(enter, served)
    assert f"见证：{hands.node.name}" in text
    assert "最近收到记录：刚刚" in text


def test_what_a_gateway_says_of_itself_stands_on_its_page(enter: Any, served: Served) -> None:
    snapshot = served.policy()
    assert snapshot is not None
    now = moments.now()
    told = GatewayState(
        at=now,
        policy_version=snapshot.version,
        policy_issued_at=now - timedelta(minutes=7),
        waiting_batches=12,
        waiting_since=now - timedelta(minutes=9),
        anchored_at=now - timedelta(minutes=4),
        anchor_problem="node.platform.away",
    )
    actions.note_state(served.gateway.node, told)

    text = text_of(enter, served)
    for words in ("7分钟前签发", "最早一条9分钟前", "4分钟前", "有问题：node.platform.away"):
        assert words in text

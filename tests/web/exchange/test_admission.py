"""The lines that the page of a one-time code shows, as the commands themselves understand them."""

import shlex
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.main import _parser as gateway_parser
from jinqiao.dataplane.node.main import _parser as node_parser
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.models import Node
from jinqiao.web.exchange.admission import admission_commands

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=100)
NUMBERS = st.from_regex(r"[-a-zA-Z0-9_]{1,60}", fullmatch=True)
CODE = "0f" * 16


def understood(kind: NodeKind, line: str) -> Any:
    program, part, *words = shlex.split(line)
    assert (program, part) == ("jinqiao", "gateway" if kind == NodeKind.GATEWAY else "node")
    return (gateway_parser() if kind == NodeKind.GATEWAY else node_parser()).parse_args(words)


@given(number=NUMBERS, name=NAMES, kind=st.sampled_from(NodeKind))
def test_whatever_a_node_is_called_its_lines_say_exactly_that(number: str, name: str, kind: NodeKind) -> None:
    lines = admission_commands(Node(number=number, name=name, kind=kind), CODE)

    said = understood(kind, lines.register)
    assert (said.platform, said.code, said.name, said.suite) == ("http://127.0.0.1:8000", CODE, name, "international")
    assert said.home == understood(kind, lines.run).home == Path(number)
    if kind == NodeKind.GATEWAY:
        assert lines.offline == ()
    else:
        written, _, admitted = lines.offline
        said = understood(kind, written)
        assert (said.offline, said.code, said.name, said.to.name) == (True, CODE, name, f"{number}.json")
        assert understood(kind, admitted).home == Path(number)


def test_the_suite_is_named_where_it_is_not_the_usual_one(settings: Any) -> None:
    settings.CRYPTO_SUITE, settings.PUBLIC_URL = "guomi", "https://platform.example/"
    lines = admission_commands(Node(number="n", name="甲", kind=NodeKind.GATEWAY), CODE)

    said = understood(NodeKind.GATEWAY, lines.register)
    assert (said.suite, said.platform) == ("guomi", "https://platform.example")

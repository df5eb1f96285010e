"""What is to be typed at the machine of a node that is to come: ready to be copied from the page that shows its code."""

import shlex
from dataclasses import dataclass

from django.conf import settings

from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.models import Node

INTERNATIONAL = "international"  # what the commands take where none is named


@dataclass(frozen=True, slots=True)
class AdmissionCommands:
    """Lines for a shell. The home is a folder named as the node, where the person stands. `offline`: for a node that no network joins to
    the platform: at its machine, at the platform's, at its machine; empty for a gateway."""

    register: str
    run: str
    offline: tuple[str, ...] = ()


def admission_commands(node: Node, code: str) -> AdmissionCommands:
    """`code` is the one-time code: the lines are as secret as it is."""
    is_gateway = node.kind == NodeKind.GATEWAY
    program = f"jinqiao {'gateway' if is_gateway else 'node'}"
    home = node.number if not node.number.startswith("-") else f"./{node.number}"
    ending = [_option("--code", code), _option("--name", node.name)]
    if settings.CRYPTO_SUITE != INTERNATIONAL:
        ending.append(_option("--suite", settings.CRYPTO_SUITE))
    platform = _option("--platform", settings.PUBLIC_URL.rstrip("/"))
    offline = (
        " ".join([program, "register", home, "--offline", *ending, f"--to {home}.json"]),
        f"jinqiao manage bundle register {home}.json --to {home}-answer.json",
        f"{program} admit {home} {home}-answer.json",
    )
    return AdmissionCommands(
        register=" ".join([program, "register", home, platform, *ending]),
        run=f"{program} run {home}",
        offline=() if is_gateway else offline,
    )


def _option(name: str, value: str) -> str:
    """A value that begins like an option is bound to its name."""
    return f"{name}={shlex.quote(value)}" if value.startswith("-") else f"{name} {shlex.quote(value)}"

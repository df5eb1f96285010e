"""Figures of a gateway in the text format of Prometheus, and who may read them.

Labels are names of the policy (services, operations, outcomes) and places of sources: what a caller makes up is no label, so
that nobody can fill the memory with services that do not exist, and no value that was asked for can get in.
"""

import hashlib
import hmac
import ipaddress
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinqiao.dataplane.gateway.settings import MetricsAccess
from jinqiao.kernel.contracts.evidence import error_owner

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_KINDS = {"_total": "counter", "_count": "histogram", "_sum": "histogram", "_bucket": "histogram"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: name without the product's prefix, labels, value."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class _Took:
    """How long calls took: how many of them within each bound and beyond the last, and all together."""

    __slots__ = ("seconds", "within")

    def __init__(self) -> None:
        self.within = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0


class CallFigures:
    """Counts of calls and how long they took, since the process started."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str]] = Counter()  # service, operation, outcome
        self._took: dict[tuple[str, str], _Took] = {}

    def note(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """`service`: empty unless the policy knows it."""
        self.calls[service, operation, outcome] += 1
        took = self._took.get((service, operation))
        if took is None:
            took = self._took[service, operation] = _Took()
        took.within[bisect_left(BOUNDS_S, seconds)] += 1
        took.seconds += seconds

    def samples(self) -> list[Sample]:
        made = [
            Sample(
                "calls_total",
                count,
                (("service", service), ("operation", operation), ("outcome", outcome), ("owner", error_owner(outcome))),
            )
            for (service, operation, outcome), count in self.calls.items()
        ]
        for (service, operation), took in self._took.items():
            labels, so_far = (("service", service), ("operation", operation)), 0
            for bound, count in zip((*BOUNDS_S, None), took.within, strict=True):
                so_far += count
                text = "+Inf" if bound is None else f"{bound:g}"
                made.append(Sample("call_seconds_bucket", so_far, (*labels, ("le", text))))
            made.append(Sample("call_seconds_sum", took.seconds, labels))
            made.append(Sample("call_seconds_count", so_far, labels))
        return made


def render(samples: Iterable[Sample], prefix: str = "jinqiao_gateway_") -> bytes:
    """The page: samples of one name together, each name with its type."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        family = sample.name
        for ending in ("_bucket", "_sum", "_count"):
            family = family.removesuffix(ending)
        families.setdefault(family, []).append(sample)
    lines: list[str] = []
    for family, members in families.items():
        kind = next((kind for ending, kind in _KINDS.items() if members[0].name.endswith(ending)), "gauge")
        lines.append(f"# TYPE {prefix}{family} {kind}")
        lines.extend(f"{prefix}{sample.name}{_labels(sample.labels)} {_number(sample.value)}" for sample in members)
    return ("\n".join(lines) + "\n").encode("utf-8")


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")


def may_read(access: MetricsAccess, address: str, headers: Mapping[str, str]) -> bool:
    """Whether a caller may read the metrics: by the token, or from an allowed network and for itself.

    A proxy on the same machine is local too; what it passes on for others names them in a header, and then only the token counts.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if access.token_sha256 and scheme.lower() == "bearer":
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).hexdigest()
        return hmac.compare_digest(given, access.token_sha256.lower())
    if any(name in headers for name in _FORWARDED):
        return False
    try:
        caller: Any = ipaddress.ip_address(address)
    except ValueError:
        return False
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(caller in ipaddress.ip_network(network) for network in access.networks)

"""What the metrics say of a gateway beside its calls: its places, its policy, its evidence, its sources."""

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.gateway.calls import CallDesk
from jinqiao.dataplane.gateway.link import PlatformLink
from jinqiao.dataplane.gateway.metrics import Sample
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.tables import Connection, Engine

if TYPE_CHECKING:
    from jinqiao.dataplane.gateway.app import Gateway

FRESH_S = 15.0


def samples(
    gateway: "Gateway", desk: CallDesk | None, log: EvidenceLog | None, link: PlatformLink | None
) -> list[Sample]:
    """Everything that is known now, of whatever is there."""
    gate = gateway.gate
    made = gateway.figures.samples()
    made.append(Sample("calls_under_way", gate.inside))
    made.append(Sample("calls_in_flight", gate.in_flight))
    made.append(Sample("draining", int(gateway.draining)))
    made.extend(Sample("shed_total", count, (("code", code),)) for code, count in gate.shed.items())
    for source, bulkhead in gate.sources():
        labels = (("source", source_name(getattr(source, "connection", None))),)
        made.append(Sample("source_calls_running", bulkhead.running, labels))
        made.append(Sample("source_calls_waiting", bulkhead.waiting, labels))
        circuit = getattr(source, "circuit", None)
        if circuit is not None:  # of an HTTP service
            made.append(Sample("source_circuit_closed", int(circuit.is_closed), labels))
    if log is not None:
        made.append(Sample("evidence_waiting", log.waiting))
        made.append(Sample("evidence_healthy", int(log.healthy)))
        made.append(Sample("evidence_commit_seconds_sum", log.commit_seconds))
        made.append(Sample("evidence_commit_seconds_count", log.commits))
    if gateway.claims is not None:
        made.append(Sample("claims_reached", int(gateway.claims.is_connected)))
    if gateway.shared_use is not None:
        made.append(Sample("use_shared", int(bool(gateway.shared_use.is_shared))))
    kept = gateway.keeping()
    if kept is not None and kept.anchor_age_s is not None:  # of the worker that leads
        made.append(Sample("evidence_anchor_age_seconds", kept.anchor_age_s))
    if kept is not None and kept.witnessed_age_s is not None:
        made.append(Sample("evidence_witnessed_age_seconds", kept.witnessed_age_s))
    if desk is not None:
        made.append(Sample("nonces", len(desk.nonces)))
        view = desk.view
        made.append(Sample("policy_version", view.version if view is not None else 0))
        if view is not None:
            now = moments.now()
            made.append(Sample("policy_age_seconds", max(0.0, (now - view.issued_at).total_seconds())))
            made.append(Sample("policy_expires_in_seconds", (view.expires_at - now).total_seconds()))
    if gateway.prober is not None:
        made.extend(gateway.prober.samples())
    if link is not None:
        made.append(Sample("policy_confirmed_seconds_ago", link.age_s()))
    return made


def source_name(connection: Connection | None) -> str:
    """Which source, without user or path: what distinguishes it on the operator's screen. None: the sandbox."""
    if connection is None:
        return "sandbox"
    if connection.engine is Engine.HTTP:  # its address stands where others have the name of a database
        return f"http:{urlsplit(connection.database).netloc.rpartition('@')[2]}"
    if connection.engine is Engine.SQLITE:
        return f"sqlite:{connection.database.rpartition('/')[2]}"
    place = f"{connection.engine.value}:{connection.host}:{connection.port or ''}"
    return f"{place}/{connection.database}" if connection.engine in (Engine.POSTGRESQL, Engine.MYSQL) else place


class SharedFigures:
    """Figures of all workers of a gateway: each writes its own beside the others', who is asked tells all that are fresh."""

    def __init__(self, home: Path, lane: str) -> None:
        self._home, self._lane = home, lane
        self._own = home / f"lane-{lane}.figures"

    def write(self, samples: list[Sample]) -> None:
        """Replace our figures; they need not outlive the machine. Raises OSError."""
        aside = self._own.with_suffix(".new")
        aside.write_bytes(json.dumps([[sample.name, sample.value, sample.labels] for sample in samples]).encode())
        aside.replace(self._own)

    def all(self, own: list[Sample]) -> list[Sample]:
        """Our samples of now and the others' last ones, each with its lane."""
        made = [_of_lane(sample, self._lane) for sample in own]
        for file in sorted(self._home.glob("lane-*.figures")):
            if file == self._own:
                continue
            with contextlib.suppress(OSError, ValueError, TypeError):
                if time.time() - file.stat().st_mtime > FRESH_S:
                    continue
                lane = file.stem.removeprefix("lane-")
                for name, value, labels in json.loads(file.read_bytes()):
                    made.append(_of_lane(Sample(name, value, tuple((str(k), str(v)) for k, v in labels)), lane))
        return made

    def close(self) -> None:
        self._own.unlink(missing_ok=True)


def _of_lane(sample: Sample, lane: str) -> Sample:
    return Sample(sample.name, sample.value, (*sample.labels, ("lane", lane)))

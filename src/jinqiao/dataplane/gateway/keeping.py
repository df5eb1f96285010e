"""What a gateway does for its evidence beside the calls: anchors each minute, their countersignatures, deletion after the time of
keeping, a new identity when asked. One thread; whatever fails here is told by the health report and never stops a call.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from jinqiao.dataplane.evidence.anchors import AnchorStore, heads
from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.shipper import shipped_batches
from jinqiao.dataplane.gateway.home import ROTATE_REQUEST, GatewayHome
from jinqiao.dataplane.gateway.retention import Recorder, delete_due
from jinqiao.dataplane.node.rotation import rotate
from jinqiao.dataplane.platform import PlatformAway, PlatformClient, PlatformRefused
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import AnchorsOffered, AnchorsTaken, BodiesDeleted
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.health import GatewayState
from jinqiao.kernel.crypto.identity import open_message
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

ANCHOR_EVERY_S = 60.0
OFFER_EVERY_S = 5.0
DELETE_EVERY_S = 3600.0
LOOK_EVERY_S = 0.5
ANSWER_WITHIN_S = 10.0
RECORDED_WITHIN_S = 30.0
ANCHORS_PATH = "/api/gateways/anchors"
STATE_PATH = "/api/gateways/state"
TELL_EVERY_S = 60.0
TELL_OLD_EVERY_S = 3600.0
UNKNOWN = 404


@dataclass(frozen=True, slots=True)
class KeepingReport:
    """For the health report; ages in seconds, None where there is nothing yet. Problems are codes or names of faults."""

    anchor_age_s: int | None
    witnessed_age_s: int | None
    anchor_problem: str
    deletion_problem: str


class EvidenceKeeper:
    """Works in that one process of a gateway that `leads`. `keep_days` gives the policy's number, None while there is no policy;
    `record` puts a record into the chain; `state` is what the platform is told each minute."""

    def __init__(
        self,
        home: GatewayHome,
        *,
        leads: Callable[[], bool],
        keep_days: Callable[[], int | None],
        record: Recorder,
        state: Callable[[], GatewayState] | None = None,
    ) -> None:
        self._home, self._leads, self._keep_days, self._record = home, leads, keep_days, record
        self._state, self._tell_due = state, 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._platform: PlatformClient | None = None
        self._rotate_due = 0.0
        self._anchor_due = self._offer_due = 0.0
        self._delete_due = time.monotonic() + ANSWER_WITHIN_S  # not in the rush of a start
        self._anchor_problem = self._deletion_problem = self._offer_problem = ""
        self._last_anchor = self._last_witnessed = ""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="evidence-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the step at hand; the heads are anchored once more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(ANSWER_WITHIN_S + 1)

    def anchored(self) -> tuple[datetime | None, datetime | None]:
        """When the last anchor was signed, and the newest that another department countersigned."""
        first, second = (datetime.fromisoformat(at) if at else None for at in (self._last_anchor, self._last_witnessed))
        return first, second

    def report(self) -> KeepingReport:
        return KeepingReport(
            anchor_age_s=_age_s(self._last_anchor),
            witnessed_age_s=_age_s(self._last_witnessed),
            anchor_problem=self._anchor_problem or self._offer_problem,
            deletion_problem=self._deletion_problem,
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._leads():
                self._do_what_is_due(time.monotonic())
            self._stop.wait(LOOK_EVERY_S)
        if self._leads():
            self._tried("anchor", self.anchor)
        if self._platform is not None:
            self._platform.close()

    def _do_what_is_due(self, now: float) -> None:
        if now >= self._anchor_due:
            self._anchor_due = now + ANCHOR_EVERY_S
            self._anchor_problem = self._tried("anchor", self.anchor)
        if now >= self._offer_due:
            self._offer_due = now + OFFER_EVERY_S
            self._offer_problem = self._tried("anchors at the platform", lambda: self.offer(self._client()))
        if now >= self._delete_due:
            self._delete_due = now + DELETE_EVERY_S
            self._deletion_problem = self._tried("deletion after the time of keeping", self.delete)
        if now >= self._tell_due and self._state is not None:
            self._tell_due = now + TELL_EVERY_S
            self._tried("the state at the platform", lambda: self.tell(self._client()))
        if now >= self._rotate_due and self._tried("a change of the key", self._rotate_if_asked):
            self._rotate_due = now + OFFER_EVERY_S

    def _client(self) -> PlatformClient:
        """Of this thread. Raises OSError where it cannot be made just now."""
        if self._platform is None:
            self._platform = self._home.client(ANSWER_WITHIN_S)
        return self._platform

    def _tried(self, what: str, work: Callable[[], object]) -> str:
        """The problem, empty where there was none. Nothing gets out of here: the thread must live."""
        try:
            work()
        except Exception as problem:  # noqa: BLE001 -- whatever it was, the next round may mend it
            name = problem.code if isinstance(problem, JinqiaoError) else type(problem).__name__
            logger.warning("%s: %s", what, name)
            return name
        return ""

    def anchor(self) -> int:
        """Sign the head of each lane that has moved; how many had. Raises sqlite3.Error."""
        with self._store() as anchors:
            now = moments.now()
            made = [
                anchors.anchor(head, gateway=self._home.gateway_id, identity=self._home.identity, at=now)
                for head in heads(self._home.evidence_file)
            ]
            self._last_anchor, self._last_witnessed = anchors.last_at(), anchors.last_witnessed_at()
            return sum(made)

    def offer(self, platform: PlatformClient) -> None:
        """Hand anchors to the platform lane by lane, and take countersignatures. Raises PlatformAway, SignatureInvalid, …, and
        PlatformRefused: where it is about one lane, after the others were offered."""
        refusals = list[PlatformRefused]()
        with self._store() as anchors:
            messages = anchors.unshipped(shipped_batches(self._home.shipped_file))
            wanted = tuple(anchors.unwitnessed(moments.now()))
            offers = [AnchorsOffered(anchors=tuple(those)) for those in messages.values()]
            for offered in [*offers, *([AnchorsOffered(anchors=(), unwitnessed=wanted)] if wanted else ())]:
                try:
                    self._offer(platform, anchors, offered)
                except PlatformRefused as refusal:
                    refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _offer(self, platform: PlatformClient, anchors: AnchorStore, offered: AnchorsOffered) -> None:
        answer = platform.post(ANCHORS_PATH, offered)
        taken = open_message(SignedMessage.from_json(answer), self._home.platform, AnchorsTaken)
        anchors.take(taken.countersignatures, taken.identities, moments.now())
        anchors.mark_shipped(offered.anchors)
        self._last_witnessed = anchors.last_witnessed_at()

    def tell(self, platform: PlatformClient) -> None:
        """Tell the platform how policy and evidence are here. Raises PlatformAway, PlatformRefused, sqlite3.Error, …; a platform of an
        earlier release, which does not know the question, is asked again after an hour."""
        if self._state is None:
            return
        try:
            platform.post(STATE_PATH, self._state())
        except PlatformRefused as refusal:
            if refusal.status != UNKNOWN:
                raise
            self._tell_due = time.monotonic() + TELL_OLD_EVERY_S

    def delete(self) -> int:
        """Archive and delete what the policy's time is over for; how many batches. Raises sqlite3.Error, OSError, …"""
        days = self._keep_days()
        if days is None:
            return 0
        return delete_due(self._home, days, self._record, self._stop.is_set)

    def _rotate_if_asked(self) -> None:
        """A rotation that an operator asked for, or that was cut off. Raises OSError, KeyStoreBroken."""
        request = self._home.path / ROTATE_REQUEST
        if not request.exists() and not self._home.keys.is_rotating:
            return
        try:
            rotate(self._home)
        except PlatformAway as problem:
            logger.warning("the key is not changed yet: %s", problem.code)  # the next round goes on
            self._stop.wait(OFFER_EVERY_S)
            return
        except (JinqiaoError, OSError) as problem:
            logger.error("the key was not changed: %s", problem)
        request.unlink(missing_ok=True)

    def _store(self) -> contextlib.closing[AnchorStore]:
        return contextlib.closing(AnchorStore(self._home.anchors_file))


def _age_s(at: str) -> int | None:
    return max(0, int((moments.now() - datetime.fromisoformat(at)).total_seconds())) if at else None


def recorder(log: EvidenceLog, loop: asyncio.AbstractEventLoop) -> Recorder:
    """Puts a record into the chain from another thread; returns when it is durable. Raises EvidenceUnavailable, TimeoutError."""

    async def append(word: BodiesDeleted) -> None:
        await log.append(word)

    def record(word: BodiesDeleted) -> None:
        asyncio.run_coroutine_threadsafe(append(word), loop).result(RECORDED_WITHIN_S)

    return record

"""The line to the platform: a thread that pulls the policy, where the platform holds the question until there is news, and one
that ships the evidence.

Neither stands in the way of a call. While the platform is away the last policy stays in force until it expires.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable

from jinqiao.dataplane.evidence.errors import BatchesMissingThere
from jinqiao.dataplane.evidence.shipper import Shipper
from jinqiao.dataplane.gateway.errors import PolicyRefused
from jinqiao.dataplane.gateway.home import LINK_LOCK, GatewayHome
from jinqiao.dataplane.gateway.snapshot import PolicyView, keep, open_snapshot
from jinqiao.dataplane.platform import PlatformClient, PlatformRefused
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.health import ServicesHealth
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

CONFIRMED = "policy.confirmed"
AWAITING = "exchange.node.awaiting"
PULL_EVERY_S = 1.0  # of a platform that does not wait for news with us
WAIT_S = 2  # of one that does: so long it holds the question; more would make our own end wait
FOLLOW_EVERY_S = 0.2  # how often a process that does not lead looks for what the leading one has written
ANSWER_WITHIN_S = 10.0
POLICY_PATH = "/api/gateways/policy"
EVIDENCE_PATH = "/api/gateways/evidence"
HEALTH_PATH = "/api/gateways/health"


class PlatformLink:
    """`install` is called, in the pulling thread, with each newer policy that verified."""

    def __init__(self, home: GatewayHome, install: Callable[[PolicyView], None]) -> None:
        self._home = home
        self._install = install
        self._stop = threading.Event()
        self._leads = threading.Event()
        self._lead: int | None = None
        self._followed: tuple[int, int] | None = None
        self._owed: SignedMessage | None = None  # in force here, but not on disk, so that who follows does not know it
        self._owed_problem = ""
        self._threads: list[threading.Thread] = []
        self._shipping = home.client(ANSWER_WITHIN_S)
        self.shipper = Shipper(home.evidence_file, home.shipped_file, self._send)
        self.view: PolicyView | None = None
        self.reached_at: float | None = None  # monotonic
        self.confirmed_at = 0.0  # Unix time when the platform said last that the policy in force is the newest
        self.last_problem = ""

    @property
    def home(self) -> GatewayHome:
        return self._home

    def start(self, view: PolicyView | None, before: "PlatformLink | None" = None) -> None:
        """`view` is what is in force at the start; `before` is a link of the same home that was stopped."""
        self.view = view
        if before is not None:
            self._owed = before._owed
        self.confirmed_at = self._kept_at()
        for name, work in (("policy", self._policy_forever), ("evidence-shipper", self._ship_forever)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    @property
    def leads(self) -> bool:
        """Whether this process, of those of the gateway, is the one that speaks with the platform."""
        return self._leads.is_set()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(ANSWER_WITHIN_S + 1)
        if self._lead is not None:
            os.close(self._lead)
            self._lead = None

    def tell_health(self, report: ServicesHealth) -> None:
        """Tell the platform how the services of departments are. Raises PlatformAway, PlatformRefused."""
        with self._home.client(ANSWER_WITHIN_S) as platform:
            platform.post(HEALTH_PATH, report)

    def age_s(self) -> float:
        """Seconds since the platform said last that the policy in force is the newest: so long nobody could revoke anything."""
        return max(0.0, time.time() - self.confirmed_at) if self.confirmed_at else 0.0

    def _kept_at(self) -> float:
        for file in (self._home.path / CONFIRMED, self._home.policy_file):
            with contextlib.suppress(OSError):
                return file.stat().st_mtime
        return 0.0

    def _confirm(self) -> None:
        """Remember when, also beyond this process: the time of a file is what a restart, and who follows, knows of it. While they
        cannot know the policy itself they are not told that theirs is the newest."""
        self.confirmed_at = time.time()
        if self._owed is not None:
            return
        with contextlib.suppress(OSError):
            (self._home.path / CONFIRMED).touch(0o600)

    def pull(self, platform: PlatformClient) -> bool:
        """Ask once, which waits for news for a moment; whether a newer policy came and is in force. Raises PlatformAway, PlatformRefused, PlatformAnswerBroken,
        ContractBroken, SignatureInvalid, PolicyRefused."""
        self._keep_owed()
        version = self.view.version if self.view is not None else 0
        answer = platform.get(f"{POLICY_PATH}?after={version}&wait={WAIT_S}")
        self.reached_at = time.monotonic()
        if answer is None:
            self._confirm()
            return False
        message = SignedMessage.from_json(answer)
        view = open_snapshot(message, self._home, newer_than=version, before=self.view)
        self._owed = message
        self._keep_owed()
        self.view = view
        self._install(view)
        self._confirm()
        logger.info("policy %d is in force, until %s", view.version, view.expires_at.isoformat())
        return True

    def _keep_owed(self) -> None:
        """Write to disk what is not there yet. A full disk must not keep a revoked grant alive: it is in force here meanwhile, and
        each pull tries again, for other processes of this gateway know only what is on disk."""
        if self._owed is None:
            return
        try:
            keep(self._owed, self._home)
        except OSError as problem:
            name = type(problem).__name__
            if name != self._owed_problem:
                logger.error("the policy cannot be kept on disk: %s", name)
            self._owed_problem = name
            return
        if self._owed_problem:
            logger.info("the policy is kept on disk again")
        self._owed, self._owed_problem = None, ""

    def _policy_forever(self) -> None:
        """One process of a gateway speaks with the platform; the others follow what it writes, and one takes over when it ends.

        Nothing gets out of here: without this thread nobody could revoke anything any more.
        """
        while not self._stop.is_set():
            try:
                if self._lead is None:
                    self._lead = self._home.try_lock(LINK_LOCK)
                if self._lead is None:
                    self._follow()
                    self.last_problem = ""
                else:
                    self._leads.set()
                    self._pull_forever()
            except Exception as problem:  # noqa: BLE001 -- whatever it was, the next round may mend it
                self._report(_name_of(problem))
            self._stop.wait(FOLLOW_EVERY_S)

    def _follow(self) -> None:
        """Take what the leading process has written: a newer policy, and when it was confirmed. Raises OSError, ValueError,
        SignatureInvalid, ContractBroken."""
        self.confirmed_at = self._kept_at()
        try:
            about = self._home.policy_file.stat()
            written = (about.st_ino, about.st_mtime_ns)
            if written == self._followed:
                return
            message = SignedMessage.from_json(json.loads(self._home.policy_file.read_bytes()))
            version = self.view.version if self.view is not None else 0
            view = open_snapshot(message, self._home, newer_than=version, before=self.view)
        except FileNotFoundError:
            return
        except PolicyRefused:  # the one that is in force already
            self._followed = written
            return
        self._followed, self.view = written, view
        self._install(view)
        logger.info("policy %d is in force, until %s", view.version, view.expires_at.isoformat())

    def _pull_forever(self) -> None:
        with self._home.client(ANSWER_WITHIN_S) as platform:
            while not self._stop.is_set():
                began, news = time.monotonic(), False
                try:
                    news = self.pull(platform)
                    self.last_problem = self._owed_problem
                except PlatformRefused as refusal:
                    self._report_refused(refusal)
                except Exception as problem:  # noqa: BLE001 -- whatever it was, the next pull may mend it
                    self._report(_name_of(problem))
                if not news:
                    self._stop.wait(max(0.0, PULL_EVERY_S - (time.monotonic() - began)))

    def _ship_forever(self) -> None:
        with self._shipping:
            while not self._stop.is_set():
                if not self._leads.wait(FOLLOW_EVERY_S):
                    continue
                try:
                    self.shipper.run(self._stop)
                except Exception as problem:  # noqa: BLE001 -- whatever it was, the next round may mend it
                    logger.error("evidence cannot be shipped for now: %s", _name_of(problem))
                    self._stop.wait(PULL_EVERY_S)

    def _send(self, batch: EvidenceBatch) -> None:
        try:
            self._shipping.post(EVIDENCE_PATH, batch)
        except PlatformRefused as refusal:
            expected = refusal.problem.details.get("expected")
            if isinstance(expected, int) and expected < batch.batch:
                raise BatchesMissingThere(expected=expected) from refusal
            raise

    def _report_refused(self, refusal: PlatformRefused) -> None:
        """What the platform itself said; a gateway that awaits approval says with which fingerprint."""
        code = refusal.problem.code
        if code != AWAITING:
            self._report(code)
            return
        if code != self.last_problem:
            mark = fingerprint(self._home.identity.key_id)
            logger.warning("awaiting approval: a person compares %s on the gateway's page", mark)
        self.last_problem = code

    def _report(self, problem: str) -> None:
        if problem != self.last_problem:
            logger.warning("no policy from the platform for now: %s", problem)
        self.last_problem = problem


def _name_of(problem: Exception) -> str:
    return problem.code if isinstance(problem, JinqiaoError) else type(problem).__name__

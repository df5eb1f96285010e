"""The ASGI application: routes, health, and the order of things around a call.

POST /gateway/v1/services/{service}/{operation}     query, batch, verify, list, count: docs/gateway.md
POST /gateway/sandbox/v1/services/{service}/{operation}, GET …/examples     the same with synthetic people
POST /gateway/v1/receipts                     what an application got: the other side's record of its calls
GET  /gateway/v1/openapi.json                 signed: what this application may ask, as OpenAPI 3.1
GET  /gateway/health/live                     200 as long as the process runs
GET  /gateway/health/ready                    200 when calls can be answered, else 503; the policy's age in both cases
GET  /gateway/metrics                         for Prometheus, from allowed networks or with the token; unknown to others
"""

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinqiao.dataplane.evidence.errors import EvidenceUnavailable
from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.shared_claims import SharedClaims
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway import national, receipts
from jinqiao.dataplane.gateway.answers import Answer
from jinqiao.dataplane.gateway.calls import SANDBOX_METER, Call, CallDesk
from jinqiao.dataplane.gateway.errors import HomeInUse, MethodNotOffered, PathUnknown
from jinqiao.dataplane.gateway.http import JSON_TYPE, Receive, Scope, Send, answer, headers_of
from jinqiao.dataplane.gateway.keeping import EvidenceKeeper, KeepingReport, recorder
from jinqiao.dataplane.gateway.link import PlatformLink
from jinqiao.dataplane.gateway.logs import RefusalLog, exception_places
from jinqiao.dataplane.gateway.metrics import CONTENT_TYPE, CallFigures, may_read, render
from jinqiao.dataplane.gateway.national import is_national
from jinqiao.dataplane.gateway.notices import Header, policy_age
from jinqiao.dataplane.gateway.openapi import PATH as DOCUMENT
from jinqiao.dataplane.gateway.overload import Gate
from jinqiao.dataplane.gateway.probing import Prober
from jinqiao.dataplane.gateway.problem import PROBLEM_TYPE, extra_headers, language_of, problem_body
from jinqiao.dataplane.gateway.quota import Answered, limited
from jinqiao.dataplane.gateway.replicas import claims_of, shared_use_of
from jinqiao.dataplane.gateway.settings import GatewaySettings, read_settings, trusting
from jinqiao.dataplane.gateway.shared_use import SharedUse
from jinqiao.dataplane.gateway.siblings import Siblings
from jinqiao.dataplane.gateway.snapshot import PolicyView, last_kept
from jinqiao.dataplane.gateway.sources.readers import Readers
from jinqiao.dataplane.gateway.state import SharedFigures, samples
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import SHED
from jinqiao.kernel.contracts.health import GatewayState, ServicesHealth
from jinqiao.kernel.errors import JinqiaoError, Unavailable
from jinqiao.kernel.moments import CHINA

logger = logging.getLogger(__name__)

LANE = 1  # of a process that has the home for itself
SERVICES = "/gateway/v1/services/"
SANDBOX = "/gateway/sandbox/v1/services/"
SALT_HEADER = b"jinqiao-answer-salt"
LOCK_WITHIN_S = 5.0
FIRST_POLICY_WITHIN_S = 5.0
SHED_RECORDED_EVERY_S = 1.0
FIGURES_EVERY = CLAIMS_LOOKED_AT_EVERY = 5  # of these
THREADS = 64


class Gateway:
    """A gateway in its home. Start and stop it by the ASGI lifespan, or by `start` and `stop` where it is embedded."""

    def __init__(self, home: Path, *, shared: bool = False) -> None:
        """`shared`: other processes of this gateway work in the same home, each with a lane of its own."""
        self._path = Path(home)
        self._shared = shared
        self._locks: list[int] = []
        self._siblings: Siblings | None = None
        self._shared_figures: SharedFigures | None = None
        self._retired: list[Readers] = []
        self._desk: CallDesk | None = None
        self._log: EvidenceLog | None = None
        self.claims: SharedClaims | None = None  # where replicas on other machines share them
        self.shared_use: SharedUse | None = None  # by which they hear of each other's calls
        self._link: PlatformLink | None = None
        self._keeper: EvidenceKeeper | None = None
        self.prober: Prober | None = None
        self._reloading = asyncio.Lock()
        self._installing: set[asyncio.Task[None]] = set()
        self._recorder: asyncio.Task[None] | None = None
        self._has_policy = asyncio.Event()
        self._refusals = RefusalLog()
        self.settings = GatewaySettings()
        self.gate = Gate(self.settings.limits)
        self.figures = CallFigures()
        self.draining = False

    async def start(self) -> None:
        """Open home, evidence and the last policy; begin to listen to the platform.

        Raises HomeNotPrepared, HomeInUse, EvidenceUnavailable, SettingsNotValid, and what `kernel.keystore` raises.
        """
        home = homes.load(self._path)
        # a source that does not answer keeps the thread that asks for its columns; the others must find one all the same
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "gateway"))
        self.settings = read_settings(self._path)
        self.gate.change(self.settings.limits)
        self._locks.append(await _locked(home, shared=self._shared))
        try:
            lane, claims = home.lane(LANE), claims_of(home, self.settings, shared=self._shared)
            if self._shared:
                lane, lock = home.take_lane()
                self._locks.append(lock)
            log = EvidenceLog(home.evidence_file, lane=lane, suite_name=home.suite, claims=claims)
            log.start()
            self._log = log
            if isinstance(claims, SharedClaims):
                self.claims = claims
                await asyncio.to_thread(claims.check)
            desk = CallDesk(home, log, self.gate)
            if self._shared:
                self._siblings = Siblings(home.path, lane, desk.hear_rate, desk.hear_use)
                self._siblings.start()
                desk.others = (self._siblings,)
                self._shared_figures = SharedFigures(home.path, lane)
            desk.nonces.load(log, time.time())
            desk.view = await asyncio.to_thread(last_kept, home)
            at, answered = moments.now().astimezone(CHINA), dict[Answered, tuple[int, int]]()
            if desk.view is not None:
                answered = await asyncio.to_thread(desk.quota.load, log.path, limited(desk.view), at)
            if self.claims is not None:
                self.shared_use = shared = shared_use_of(
                    home, self.settings, lane, desk.hear_rate, desk.hear_use, is_alone=not self._shared
                )
                shared.begin(answered, at.date())
                await shared.start()
                desk.others = (*desk.others, shared)
            link = await self._made_link(home, self.settings)
        except BaseException:
            await self.stop()
            raise
        self._desk = desk
        self._open_link(link, desk, log)
        self._recorder = asyncio.create_task(self._record_shed_forever())
        self.prober = Prober(desk, self._tell_health)
        self.prober.start()
        if self._shared and desk.view is None:
            # on the socket that all share nobody could tell this process, which has no policy yet, from those that have one
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_policy.wait(), FIRST_POLICY_WITHIN_S)

    def _tell_health(self, report: ServicesHealth) -> bool:
        """Tell the platform, where this process is the one that speaks with it; whether it was told. Runs in a thread."""
        link = self._link
        if link is None or not link.leads:
            return False
        link.tell_health(report)
        return True

    async def _made_link(self, home: homes.GatewayHome, settings: GatewaySettings) -> PlatformLink:
        """One that is not started yet. Raises SettingsNotValid, OSError."""
        loop = asyncio.get_running_loop()

        def install(view: PolicyView) -> None:
            loop.call_soon_threadsafe(self._install, view)

        return await asyncio.to_thread(lambda: PlatformLink(trusting(home, settings), install))

    def _open_link(
        self, link: PlatformLink, desk: CallDesk, log: EvidenceLog, before: PlatformLink | None = None
    ) -> None:
        self._link = link
        link.start(desk.view, before)
        self._keeper = EvidenceKeeper(
            link.home,
            leads=lambda: link.leads,
            keep_days=lambda: desk.view.keep_bodies_days if desk.view is not None else None,
            record=recorder(log, asyncio.get_running_loop()),
            state=self.state,
        )
        self._keeper.start()

    async def reload(self) -> None:
        """Read settings, address and identity of the platform, and certificates anew; calls go on meanwhile.

        Raises SettingsNotValid, HomeNotPrepared, OSError and what `kernel.keystore` raises; then everything stays as it was.
        """
        async with self._reloading:  # two at once would make two links, and one of them would never be stopped
            await self._reload()

    async def _reload(self) -> None:
        settings, home = read_settings(self._path), homes.load(self._path)
        link, desk, log = self._link, self._desk, self._log
        if link is None or desk is None or log is None:
            return
        following = await self._made_link(
            home, settings
        )  # whatever can fail does so before the one that works is stopped
        # calls under way have the time that was theirs when they began
        within_s = max(self.settings.limits.call_within_s, settings.limits.call_within_s)
        self.settings = settings
        self.gate.change(settings.limits)
        await asyncio.to_thread(link.stop)
        await self._stop_keeper()
        self._open_link(following, desk, log, link)
        # connections are made again, with the certificates that are there now; calls under way keep theirs
        retired = desk.renew(home)
        self._retired.append(retired)
        asyncio.get_running_loop().call_later(within_s + 1, self._close_retired, retired)
        logger.info("settings and certificates were read anew")

    def _close_retired(self, readers: Readers) -> None:
        if readers in self._retired:
            self._retired.remove(readers)
            self._in_background(readers.close())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._installing.add(task)
        task.add_done_callback(self._installing.discard)

    async def drain(self) -> None:
        """Say that no more calls are wanted, answer those that come all the same, and those under way, within bounds."""
        self.draining = True
        serving, loop = self.settings.serving, asyncio.get_running_loop()
        logger.info("the gateway ends: ready no more, %d calls under way", self.gate.inside)
        await asyncio.sleep(serving.drain_s)
        until = loop.time() + serving.end_within_s
        while self.gate.inside and loop.time() < until:
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Let go of everything; records that wait are written first."""
        if self.prober is not None:
            await self.prober.stop()
            self.prober = None
        if self._recorder is not None:
            self._recorder.cancel()
            await asyncio.wait([self._recorder])
            self._recorder = None
            await self._record_shed()
        async with self._reloading:  # one that is under way ends with another link
            if self._link is not None:
                await asyncio.to_thread(self._link.stop)
                self._link = None
        if self._installing:
            await asyncio.wait(self._installing)
        while self._retired:
            await self._retired.pop().close()
        if self._siblings is not None:
            self._siblings.stop()
            self._siblings = None
        if self.shared_use is not None:
            await asyncio.to_thread(self.shared_use.stop)
            self.shared_use = None
        if self._shared_figures is not None:
            self._shared_figures.close()
            self._shared_figures = None
        if self._desk is not None:
            await self._desk.readers.close()
            await self._desk.sandbox.close()
            self._desk = None
        if self._log is not None:
            await self._log.stop()
            self._log = None
        await self._stop_keeper()  # the last records are anchored, too
        while self._locks:
            os.close(self._locks.pop())

    async def _stop_keeper(self) -> None:
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.stop)
            self._keeper = None

    def _install(self, view: PolicyView) -> None:
        """Put a newer policy in force: from the next call on, everything is decided by it."""
        desk = self._desk
        if desk is None or (desk.view is not None and view.version < desk.view.version):
            return  # a link that was stopped may still have had one on its way
        desk.view = view
        self._has_policy.set()
        desk.meter.keep_only({*view.services, *(f"{SANDBOX_METER}{name}" for name in view.services)})
        desk.sandbox.keep_only(dict(view.services))
        self._in_background(desk.readers.keep_only(dict(view.services)))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._lifespan(scope, receive, send)
        path: str = scope["path"]
        if path.startswith((SERVICES, SANDBOX)) or path in (receipts.PATH, DOCUMENT) or is_national(path):
            return self._call(scope, receive, send)
        return self._tell(path, scope, receive, send)

    async def _tell(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """What is asked beside calls."""
        if path == "/gateway/health/live":
            await self._health(scope, send, {"live": True}, 200)
        elif path == "/gateway/health/ready":
            report = await asyncio.to_thread(self.readiness)
            await self._health(scope, send, report, 200 if report["ready"] else 503)
        elif path == "/gateway/metrics":
            await self._metrics(scope, send)
        else:
            await _refuse(scope, send, PathUnknown(), "")

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        desk = self._desk
        if desk is None:
            await _refuse(scope, send, Unavailable(), "")
            return
        try:
            self.gate.enter()
        except JinqiaoError as refusal:  # counted; one record a second says how many they were
            await _refuse(scope, send, refusal, "", self._notices())
            return
        try:
            await self._take(desk, scope, receive, send)
        finally:
            self.gate.inside -= 1

    async def _take(self, desk: CallDesk, scope: Scope, receive: Receive, send: Send) -> None:
        call = desk.begin()
        refusal: JinqiaoError | None = None
        given: Answer | None = None
        try:
            given = await self._work(desk, call, scope, receive)
        except JinqiaoError as problem:
            refusal = problem
        except Exception as problem:  # noqa: BLE001 -- no answer and no word of what broke may leave without a record
            logger.error("call %s failed: %s", call.call_id, exception_places(problem))
            refusal = JinqiaoError()
        if refusal is not None:
            call.outcome, call.rows, call.answer_commitment, call.confirms = refusal.code, 0, "", ""
        try:
            await desk.record(call)
        except JinqiaoError as problem:  # no record, or another process has answered a call with this nonce
            refusal = problem
            call.outcome = problem.code
        seconds = time.perf_counter() - call.began
        self.figures.note(call.service if call.grant_id else "", call.operation, call.outcome, seconds)
        notices = [*call.notices, *self._notices()]
        if refusal is not None or given is None:
            self._refusals.note(call.outcome)
            await _refuse(scope, send, refusal or JinqiaoError(), call.call_id, notices)
        else:
            notices += given.headers
            if call.salt:
                notices.append((SALT_HEADER, call.salt.hex().encode()))
            await answer(scope, send, 200, given.body, given.content_type, notices)

    def _notices(self) -> list[Header]:
        """What every answer says beside its content: an old policy, and that this connection ends."""
        link = self._link
        notices = policy_age(link.age_s(), self.settings.serving.policy_old_s) if link is not None else []
        if self.draining:
            notices.append((b"connection", b"close"))
        return notices

    async def _record_shed_forever(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(SHED_RECORDED_EVERY_S)
            await self._record_shed()
            rounds += 1
            if self.claims is not None and rounds % CLAIMS_LOOKED_AT_EVERY == 0:
                self._in_background(asyncio.to_thread(self.claims.look))
            if self._shared_figures is not None and rounds % FIGURES_EVERY == 1:
                try:
                    self._shared_figures.write(samples(self, self._desk, self._log, self._link))
                except OSError as problem:
                    logger.warning("figures cannot be written: %s", type(problem).__name__)

    async def _record_shed(self) -> None:
        """One record for all calls that were refused unread since the last one, of each kind.

        A record for each would make the evidence grow fastest when the gateway can bear it least; of a call that was not read
        there is nothing to say but that it came.
        """
        desk = self._desk
        if desk is None:
            return
        for code, count in self.gate.take_unrecorded().items():
            self._refusals.note(code)
            self.figures.calls["", SHED, code] += count
            call = desk.begin()
            call.operation, call.outcome, call.keys = SHED, code, count
            try:
                await desk.record(call)
            except EvidenceUnavailable:
                logger.error("%d calls refused at the door are in no record", count)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        try:
            headers = headers_of(scope)
        except JinqiaoError:
            headers = {"forwarded": ""}
        address = (scope.get("client") or ("", 0))[0]
        if scope["method"] != "GET" or not may_read(self.settings.metrics, address, headers):
            await _refuse(scope, send, PathUnknown(), "")
            return
        own = samples(self, self._desk, self._log, self._link)
        await answer(
            scope, send, 200, render(self._shared_figures.all(own) if self._shared_figures else own), CONTENT_TYPE
        )

    def _work(self, desk: CallDesk, call: Call, scope: Scope, receive: Receive) -> Awaitable[Answer]:
        """What answers such a call. It raises JinqiaoError: the refusal."""
        if scope["path"] == receipts.PATH and self._log is not None:
            return receipts.take_receipts(desk, self._log, call, scope, receive)
        if scope["path"] == DOCUMENT:
            return desk.document(call, scope, receive)
        return desk.work(call, scope, receive)

    async def _health(self, scope: Scope, send: Send, report: dict[str, Any], status: int) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(scope, send, MethodNotOffered(allowed="GET"), "")
            return
        await answer(scope, send, status, json.dumps(report, ensure_ascii=False).encode())

    def keeping(self) -> KeepingReport | None:
        """How old the last anchor and its countersignature are; None while the gateway does not run."""
        return self._keeper.report() if self._keeper is not None else None

    def state(self) -> GatewayState:
        """What the platform is told of policy and evidence here. Raises sqlite3.Error, OSError."""
        desk, link, log, kept = self._desk, self._link, self._log, self.keeping()
        view = desk.view if desk is not None else None
        lag = link.shipper.lag() if link is not None else None
        anchored, witnessed = self._keeper.anchored() if self._keeper is not None else (None, None)
        return GatewayState(
            at=moments.now(),
            policy_version=view.version if view else None,
            policy_issued_at=view.issued_at if view else None,
            waiting_batches=lag.waiting if lag else None,
            waiting_since=lag.waiting_since if lag else None,
            recorded_at=lag.recorded_at if lag else None,
            anchored_at=anchored,
            witnessed_at=witnessed,
            anchor_problem=kept.anchor_problem if kept else "",
            evidence_healthy=bool(log is not None and log.healthy),
        )

    def readiness(self) -> dict[str, Any]:
        """What an operator wants to know: is there a policy, how old is it, is the platform there, what waits to be shipped."""
        desk, link, log = self._desk, self._link, self._log
        view = desk.view if desk is not None else None
        now = moments.now()
        live = view is not None and view.expires_at > now
        report: dict[str, Any] = {
            "ready": bool(live and log is not None and log.healthy and not self.draining),
            "draining": self.draining,
            "policy_version": view.version if view else None,
            "policy_age_s": max(0, int((now - view.issued_at).total_seconds())) if view else None,
            "policy_expires_in_s": max(0, int((view.expires_at - now).total_seconds())) if view else None,
            "services": len(view.services) if view else 0,
            "evidence_healthy": bool(log is not None and log.healthy),
            "policy_confirmed_s_ago": round(link.age_s(), 1) if link is not None and view else None,
            "calls_under_way": self.gate.inside,
            "calls_shed": self.gate.shed.total(),
            "platform_reached_s_ago": None,
            "platform_problem": "",
            "evidence_waiting_batches": None,
            "evidence_waiting_s": None,
            "evidence_recorded_s_ago": None,
            "claims_reached": self.claims.check() if self.claims is not None else None,
            "use_shared": self.shared_use.is_shared if self.shared_use is not None else None,
            **(asdict(kept) if (kept := self.keeping()) is not None else {}),
        }
        if report["claims_reached"] is False:
            report["ready"] = False
        if link is not None:
            report["platform_problem"] = link.last_problem
            if link.reached_at is not None:
                report["platform_reached_s_ago"] = round(time.monotonic() - link.reached_at, 1)
            try:
                lag = link.shipper.lag()
                report["evidence_waiting_batches"] = lag.waiting
                for name, at in (
                    ("evidence_waiting_s", lag.waiting_since),
                    ("evidence_recorded_s_ago", lag.recorded_at),
                ):
                    report[name] = max(0, int((now - at).total_seconds())) if at is not None else None
            except (sqlite3.Error, OSError):
                report["evidence_healthy"] = report["ready"] = False
        return report

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop as the server says. There is no other kind of conversation that is not HTTP."""
        while scope["type"] == "lifespan":
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except JinqiaoError as problem:
                    await send({"type": "lifespan.startup.failed", "message": str(problem)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _locked(home: homes.GatewayHome, *, shared: bool) -> int:
    """The lock of the home; a predecessor that is just ending gets a moment. Raises HomeInUse."""
    until = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            return home.lock(shared=shared)
        except HomeInUse:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(0.1)


def create_app(home: Path, *, shared: bool = False) -> Gateway:
    """The gateway of a home as an ASGI application (`__call__`, `start`, `stop`), alone or one of several in that home."""
    return Gateway(home, shared=shared)


async def _refuse(scope: Scope, send: Send, error: JinqiaoError, call_id: str, notices: Sequence[Header] = ()) -> None:
    wanted = b""
    for name, value in scope["headers"]:
        if name.lower() == b"accept-language":
            wanted = value
            break
    language = language_of(wanted.decode("latin-1"))
    headers = [*extra_headers(error), *notices, (b"content-language", language.encode())]
    if is_national(scope["path"]):
        body, kind = national.problem_body(error, language=language, call_id=call_id), JSON_TYPE
    else:
        body, kind = problem_body(error, language=language, call_id=call_id), PROBLEM_TYPE
    await answer(scope, send, error.http_status, body, kind, headers)

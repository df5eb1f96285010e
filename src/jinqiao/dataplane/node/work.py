"""One command, worked to one result. Passwords are opened here, handed to the connector, and never kept or logged."""

import base64
import json
import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

from jinqiao.dataplane.connectors import Source, Target, open_source, open_target
from jinqiao.dataplane.errors import RunStopped
from jinqiao.dataplane.node.admission import check_sender, connection_of, manifest_of, order_of, receipt_of
from jinqiao.dataplane.node.errors import Closing
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.dataplane.node.ledger import Ledger, Task
from jinqiao.dataplane.node.relay import Relay
from jinqiao.dataplane.node.stopwatch import Stopwatch
from jinqiao.dataplane.pipeline import deliver, extract, verify_manifest
from jinqiao.dataplane.platform import PlatformRefused
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, ExchangeOrder, Problem, Progress
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.moments import now

logger = logging.getLogger(__name__)


class Worker:
    """Works commands for one node. `closing` is set when the process is to end."""

    def __init__(
        self, home: NodeHome, ledger: Ledger, closing: threading.Event, tell: Callable[[Progress], None]
    ) -> None:
        self._home, self._ledger, self._closing, self._tell = home, ledger, closing, tell
        self._spool = home.spool

    def work(self, task: Task) -> CommandResult:
        """The result, also where it failed. Raises Closing where the process ends first: the command is worked again then."""
        command = task.command
        watch = Stopwatch()
        try:
            fields = self._do(task, watch)
        except Closing:
            raise
        except JinqiaoError as problem:
            if isinstance(problem, RunStopped) and self._closing.is_set() and not self._ledger.is_stopped(task):
                raise Closing from problem
            logger.warning("command %s (%s) failed: %s", command.id, command.kind.value, problem.code)
            return failed(command.id, problem_of(problem), watch.seconds)
        except Exception as problem:  # whatever it was, the platform must hear of it
            if self._closing.is_set():
                raise Closing from problem
            # neither message nor values: a driver's words may quote a row
            place = traceback.extract_tb(problem.__traceback__)[-1]
            kind = type(problem).__name__
            logger.error("command %s failed: %s at %s:%s", command.id, kind, place.name, place.lineno)
            unexpected = Problem(code=JinqiaoError.code, details={"kind": kind, "node": self._home.node_id})
            return failed(command.id, unexpected, watch.seconds)
        return CommandResult(command_id=command.id, ok=True, seconds=watch.seconds, finished_at=now(), **fields)

    def _do(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        match task.command.kind:
            case CommandKind.TEST_CONNECTION:
                with watch("connect"), self._source(connection_of(task.command)) as source:
                    return {"server_version": source.test()}
            case CommandKind.LIST_TABLES:
                with watch("list"), self._source(connection_of(task.command)) as source:
                    return {"tables": source.tables()}
            case CommandKind.EXTRACT:
                return self._extract(task, watch)
            case CommandKind.DELIVER:
                return self._deliver(task, watch)
            case CommandKind.PURGE:
                return self._purge(task)
            case _:  # STOP works by standing in the ledger
                return {}

    def _extract(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        command = task.command
        order = order_of(command, self._home)
        self._check_stop(task)
        self._drop_if_for_another_order(order)
        with watch("extract"), self._source(connection_of(command)) as source:
            manifest = extract(order, source, spool=self._spool, progress=self._tell, stop=self._stop_of(task))
        with watch("hand_over"), self._home.client() as platform:
            relay = Relay(platform, order, manifest, tell=self._tell, pause=self._pause_of(task))
            relay.upload(self._spool.outgoing(order.run_id), self._ledger, command.id)
        receipt = receipt_of(order, manifest)
        return {"manifest": manifest, "receipt": receipt, "receipt_signature": self._signed(receipt.canonical())}

    def _deliver(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        command = task.command
        order, manifest = order_of(command, self._home), manifest_of(command)
        verify_manifest(order, manifest)
        check_sender(command, order, manifest)
        self._check_stop(task)
        incoming = self._spool.incoming(order.run_id)
        with watch("fetch"), self._home.client() as platform:
            Relay(platform, order, manifest, tell=self._tell, pause=self._pause_of(task)).download(incoming)
        order_of(command, self._home)  # the fetching may have taken days
        with watch("deliver"), self._target(connection_of(command)) as target:
            counts = deliver(
                order,
                manifest,
                target,
                spool=self._spool,
                identity=self._home.identity,
                progress=self._tell,
                stop=self._stop_of(task),
            )
        receipt = receipt_of(order, manifest)
        return {"counts": counts, "receipt": receipt, "receipt_signature": self._signed(receipt.canonical())}

    def _purge(self, task: Task) -> dict[str, Any]:
        """Forget the staged chunks of a run, unless it was ordered anew since."""
        if not self._ledger.has_newer_move(task):
            self._spool.purge(task.command.run_id)
            self._ledger.forget_staging(task.command.run_id)
        return {}

    def _drop_if_for_another_order(self, order: ExchangeOrder) -> None:
        """A run that was ordered again in other terms (a new grant snapshot, another cursor) starts from nothing."""
        digest = suite(self._home.identity.suite).digest(order.canonical()).hex()
        if self._ledger.staged_for(order.run_id) != digest:
            self._spool.outgoing(order.run_id).purge()
            self._ledger.note_staging(order.run_id, digest)

    # -- connections

    def _source(self, connection: Connection) -> Source:
        return open_source(connection, self._password(connection))

    def _target(self, connection: Connection) -> Target:
        return open_target(connection, self._password(connection))

    def _password(self, connection: Connection) -> str | None:
        """Raises SealBroken where it was sealed to another node."""
        if not connection.sealed_password:
            return None
        return self._home.identity.unseal(connection.sealed_password).decode("utf-8")

    def _signed(self, data: bytes) -> str:
        return base64.b64encode(self._home.identity.sign(data)).decode("ascii")

    # -- ending early

    def _stop_of(self, task: Task) -> Callable[[], bool]:
        return lambda: self._closing.is_set() or self._ledger.is_stopped(task)

    def _check_stop(self, task: Task) -> None:
        if self._closing.is_set():
            raise Closing
        if self._ledger.is_stopped(task):
            raise RunStopped(run=task.command.run_id)

    def _pause_of(self, task: Task) -> Callable[[float], None]:
        def pause(seconds: float) -> None:
            self._check_stop(task)
            if seconds and self._closing.wait(seconds):
                raise Closing

        return pause


def problem_of(error: JinqiaoError) -> Problem:
    """An error as the platform is told of it; what the platform itself said comes back as it was."""
    if isinstance(error, PlatformRefused):
        return error.problem
    details = json.loads(json.dumps(error.details, default=str, ensure_ascii=False))
    return Problem(code=error.code, details=details, clause=error.clause, retryable=error.retryable)


def failed(command_id: str, problem: Problem, seconds: dict[str, float] | None = None) -> CommandResult:
    return CommandResult(command_id=command_id, ok=False, problem=problem, seconds=seconds or {}, finished_at=now())

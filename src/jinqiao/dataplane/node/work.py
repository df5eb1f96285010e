"""One command, worked to one result. Passwords are opened here, handed to the connector, and never kept or logged."""

import base64
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from jinqiao.dataplane.checks.corrections import corrected_rows, resubmission
from jinqiao.dataplane.connectors import Source, Target, open_source, open_target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.connectors.protection import open_now, seconds_until_open
from jinqiao.dataplane.errors import ChunkDamaged, ReadingHeldTooLong, RunStopped
from jinqiao.dataplane.node.admission import (
    check_sender,
    connection_of,
    identity_for,
    is_provider,
    manifest_of,
    order_of,
    receipt_of,
    slot_named,
)
from jinqiao.dataplane.node.direct import DirectOffer
from jinqiao.dataplane.node.errors import Closing, ManifestMissing, NotYet
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.dataplane.node.ledger import Ledger, Task
from jinqiao.dataplane.node.parts import Parts
from jinqiao.dataplane.node.quarantine import identity_of, sealed_rows, workbook
from jinqiao.dataplane.node.relay import CarriedByHand, Carrier, Relay
from jinqiao.dataplane.node.stopwatch import Stopwatch
from jinqiao.dataplane.node.witness import countersign
from jinqiao.dataplane.pipeline import deliver, extract, verify_manifest
from jinqiao.dataplane.pipeline.compare import content_of
from jinqiao.dataplane.platform import PlatformRefused
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    Command,
    CommandKind,
    CommandResult,
    DeliveryCounts,
    ExchangeOrder,
    Problem,
    Progress,
    Stage,
)
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.moments import now

logger = logging.getLogger(__name__)

HELD_PUT_BACK = timedelta(minutes=5)  # a resume ends the waiting at once
EXTRACTING = (CommandKind.EXTRACT, CommandKind.RESUBMIT)
FETCH_AGAIN = 3  # times, where a chunk was damaged in the spool of the consumer's node


class Worker:
    """Works commands for one node. `closing` is set when the process is to end."""

    def __init__(
        self, home: NodeHome, ledger: Ledger, closing: threading.Event, tell: Callable[[Progress], None], spool: Spool
    ) -> None:
        self._home, self._ledger, self._closing, self._tell, self._spool = home, ledger, closing, tell, spool

    def work(self, task: Task) -> CommandResult:
        """The result, also where it failed. Raises Closing where the process ends first: the command is worked again then;
        NotYet where it has to wait."""
        command = task.command
        watch = Stopwatch()
        try:
            fields = self._do(task, watch)
        except (Closing, NotYet):
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
                    return {"server_version": source.test(), "slots": source.slots()}
            case CommandKind.DROP_SLOT:
                with watch("connect"), self._source(connection_of(task.command)) as source:
                    source.drop_slot(slot_named(task.command))
                    return {"slots": source.slots()}
            case CommandKind.LIST_TABLES:
                with watch("list"), self._source(connection_of(task.command)) as source:
                    return {"tables": source.tables()}
            case CommandKind.EXTRACT | CommandKind.RESUBMIT:
                return self._extract(task, watch)
            case CommandKind.DELIVER:
                return self._deliver(task, watch)
            case CommandKind.RESEND:
                return self._resend(task, watch)
            case CommandKind.COMPARE:
                return self._compare(task, watch)
            case CommandKind.READ_QUARANTINE:
                order = order_of(task.command, self._home)
                return {"sealed_payload": self._home.platform.seal(workbook(self._home, self._spool, order))}
            case CommandKind.COUNTERSIGN:
                word = countersign(
                    task.command, self._home.path, node_id=self._home.node_id, identity=self._home.identity
                )
                return {"countersignature": word}
            case CommandKind.PURGE:
                return self._purge(task)
            case _:  # STOP, PAUSE and RESUME work by standing in the ledger
                return {}

    def _extract(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        command = task.command
        order = order_of(command, self._home)
        self._check_stop(task)
        self._drop_if_for_another_order(order)
        if self._spool.outgoing(order.run_id).manifest() is None:
            self._wait_for_turn(task, order)
        with watch("extract"), self._source(connection_of(command)) as source:
            manifest = self._staged(task, order, source)
        with watch("hand_over"), self._carrier(task, order, manifest) as carrier:
            carrier.upload(self._spool.outgoing(order.run_id), self._ledger, command.id)
        return {
            "manifest": manifest,
            "direct": self._ledger.sent_directly(command.id),
            **self._signed_receipt(order, manifest, provider=True),
        }

    def _staged(self, task: Task, order: ExchangeOrder, source: Source) -> BatchManifest:
        """Extract, while the source may be read. Raises NotYet where that ends first: what is staged stays."""
        asked = order
        if task.command.kind is CommandKind.RESUBMIT and self._spool.outgoing(order.run_id).manifest() is None:
            asked, source = self._corrected(task.command, order, source)
        try:
            return extract(
                asked,
                source,
                spool=self._spool,
                identity=identity_for(order, self._home, provider=True),
                states=self._home.states,
                tokens=self._home.tokens(order.grant),
                progress=self._tell,
                stop=lambda: self._stop_of(task)() or not open_now(order.windows, now()),
                hold=lambda: self._ledger.is_held(order.run_id),
            )
        except RunStopped:
            if not self._stop_of(task)():
                self._wait_for_turn(task, order)
            raise
        except ReadingHeldTooLong:
            self._wait_for_turn(task, order)
            raise

    def _corrected(self, command: Command, order: ExchangeOrder, source: Source) -> tuple[ExchangeOrder, Source]:
        """What to read for corrected rows of an earlier run's quarantine. Raises QuarantineMissing, CorrectionsRefused, SealBroken."""
        sealed = sealed_rows(self._spool, command.corrects)
        handed_in = self._home.keys.unseal(command.sealed_payload)
        identity = identity_of(sealed, self._home)
        corrections = corrected_rows(handed_in, order, sealed=sealed, identity=identity, source=source)
        return resubmission(order, corrections, source)

    @contextmanager
    def _carrier(self, task: Task, order: ExchangeOrder, manifest: BatchManifest) -> Iterator[Carrier]:
        """How this node's chunks come and go: by hand, straight to the other node, or by the relay."""
        if self._home.is_carried:
            yield CarriedByHand(manifest)
            return
        with ExitStack() as stack:
            offer = None
            announcement = task.command.transfer
            if task.command.kind in EXTRACTING and order.consumer_url and announcement is not None:
                offer = DirectOffer(self._home, order, announcement)
                stack.callback(offer.close)
            platform = stack.enter_context(self._home.client())
            yield Relay(platform, order, manifest, tell=self._tell, pause=self._pause_of(task), offer=offer)

    def _resend(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        """Upload chunks again whose copy at the relay was damaged. A node without a network packs them into its next bundle."""
        command = task.command
        order = order_of(command, self._home)
        spool = self._spool.outgoing(order.run_id)
        manifest = spool.manifest()
        if manifest is None:
            raise ManifestMissing(run=order.run_id)
        with watch("hand_over"), self._carrier(task, order, manifest) as carrier:
            if isinstance(carrier, Relay):
                carrier.resend(spool, command.chunks)
            else:
                carrier.upload(spool, self._ledger, command.id)
        return {}

    def _compare(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        """Read one side again, in the hours in which it may be read."""
        command = task.command
        order = order_of(command, self._home)
        reads_source = is_provider(command, order, self._home)
        if reads_source:
            self._wait_for_turn(task, order)
        with watch("compare"), self._source(connection_of(command)) as source:
            content = content_of(
                order,
                source,
                "source" if reads_source else "target",
                tokens=self._home.tokens(order.grant) if reads_source else None,
                stop=self._stop_of(task),
            )
        return {"content": content}

    def _wait_for_turn(self, task: Task, order: ExchangeOrder) -> None:
        """Raises NotYet while the run is paused by hand, or its source may not be read at this hour."""
        self._wait_while_held(task, Stage.EXTRACT)
        if wait_s := seconds_until_open(order.windows, now()):
            self._put_off(task, Stage.EXTRACT, "window", timedelta(seconds=wait_s))

    def _wait_while_held(self, task: Task, stage: Stage) -> None:
        """Raises NotYet while the run is paused by hand."""
        if self._ledger.is_held(task.command.run_id):
            self._put_off(task, stage, "resume", HELD_PUT_BACK)

    def _put_off(self, task: Task, stage: Stage, waiting_for: str, wait: timedelta) -> None:
        self._tell(Progress(run_id=task.command.run_id, stage=stage, waiting_for=waiting_for, at=now()))
        logger.info("command %s waits for %s", task.command.id, waiting_for)
        raise NotYet(now() + wait, waiting_for)

    def _deliver(self, task: Task, watch: Stopwatch) -> dict[str, Any]:
        command = task.command
        order, manifest = order_of(command, self._home), manifest_of(command)
        verify_manifest(order, manifest)
        check_sender(command, order, manifest)
        parts = Parts(NodeLedger(self._home.merged_file), order, connection_of(command))
        if (counts := self._merged_before_stop(task, manifest, parts)) is not None:
            return {"counts": counts, **self._signed_receipt(order, manifest, provider=False)}
        incoming = self._spool.incoming(order.run_id)
        for is_last in (*(False,) * (FETCH_AGAIN - 1), True):
            with watch("fetch"), self._carrier(task, order, manifest) as carrier:
                carrier.download(incoming)
            order_of(command, self._home)  # the fetching may have taken days
            self._wait_while_held(task, Stage.DELIVER)
            try:
                with watch("deliver"), self._target(connection_of(command)) as target:
                    counts = deliver(
                        order,
                        manifest,
                        target,
                        spool=self._spool,
                        identity=identity_for(order, self._home, provider=False),
                        progress=self._tell,
                        stop=lambda: self._stop_of(task)() or self._ledger.is_held(order.run_id),
                        part=parts.last,
                    )
                    parts.delivered(manifest.batch_id, target)
            except RunStopped:
                if not self._stop_of(task)():
                    self._wait_while_held(task, Stage.DELIVER)  # the target's ledger knows where to go on
                raise
            except ChunkDamaged as problem:
                if is_last or problem.details.get("reason") != "digest":
                    raise
                logger.warning("a chunk of run %s was damaged in the spool; it is fetched again", order.run_id)
            else:
                break
        return {"counts": counts, **self._signed_receipt(order, manifest, provider=False)}

    def _merged_before_stop(self, task: Task, manifest: BatchManifest, parts: Parts) -> DeliveryCounts | None:
        """Where the run is to stop: the counts of a batch that stands at the target all the same, for a process was killed between the
        merge and its answer. Raises Closing; RunStopped where nothing of it does."""
        if self._closing.is_set() or not self._ledger.is_stopped(task):
            self._check_stop(task)
            return None
        with self._target(connection_of(task.command)) as target:
            merged = target.state(manifest.batch_id).merged
            if merged is None:
                raise RunStopped(run=task.command.run_id)
            parts.delivered(manifest.batch_id, target)
        return merged

    def _signed_receipt(self, order: ExchangeOrder, manifest: BatchManifest, *, provider: bool) -> dict[str, Any]:
        """Signed with the identity that the order names, so that it verifies also after a rotation on the way."""
        receipt = receipt_of(order, manifest)
        signature = identity_for(order, self._home, provider=provider).sign(receipt.canonical())
        return {"receipt": receipt, "receipt_signature": base64.b64encode(signature).decode("ascii")}

    def _purge(self, task: Task) -> dict[str, Any]:
        """Forget the staged chunks of a run, unless it was ordered anew since; at once, or after the time that they are kept."""
        if self._ledger.has_newer_move(task):
            return {}
        if self._home.keep_staged_h:
            self._ledger.note_kept(task.command.run_id)
        else:
            drop_staged(self._spool, self._ledger, task.command.run_id)
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
        ledger = NodeLedger(self._home.merged_file)
        return open_target(connection, self._password(connection), ledger=ledger)

    def _password(self, connection: Connection) -> str | None:
        """Raises SealBroken where it was sealed to another node."""
        if not connection.sealed_password:
            return None
        return self._home.keys.unseal(connection.sealed_password).decode("utf-8")

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
            self._wait_while_held(task, Stage.HAND_OVER)  # what was moved is noted: it goes on from there
            if seconds and self._closing.wait(seconds):
                raise Closing

        return pause


def drop_staged(spool: Spool, ledger: Ledger, run_id: str) -> None:
    """Forget the chunks of a run; rows in quarantine stay for their people, until the run is forgotten."""
    outgoing = spool.outgoing(run_id)
    kept = outgoing.quarantine()
    spool.purge(run_id)
    if kept is not None:
        outgoing.write_quarantine(kept)
    ledger.forget_staging(run_id)


def problem_of(error: JinqiaoError) -> Problem:
    """An error as the platform is told of it; what the platform itself said comes back as it was."""
    if isinstance(error, PlatformRefused):
        return error.problem
    details = json.loads(json.dumps(error.details, default=str, ensure_ascii=False))
    return Problem(code=error.code, details=details, clause=error.clause, retryable=error.retryable)


def failed(command_id: str, problem: Problem, seconds: dict[str, float] | None = None) -> CommandResult:
    return CommandResult(command_id=command_id, ok=False, problem=problem, seconds=seconds or {}, finished_at=now())

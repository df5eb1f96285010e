"""A gateway as a process of its own, with its HTTP server in this very process: killed is killed, nothing is left behind.

gateway register HOME --platform URL --code CODE --name NAME      register by the one-time code; shows the fingerprint to compare
gateway fingerprint HOME                                          the fingerprint of the gateway's key
gateway run HOME [--host H] [--port N] [--workers N]              serve calls
gateway rotate HOME                                               a new key
gateway export HOME --out PACK                                    the evidence of calls
gateway salt HOME CALL                                            what proves an answer
gateway replica HOME NEW --name NAME                              the home of a further replica
"""

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import uvloop

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway import logs
from jinqiao.dataplane.gateway.app import create_app
from jinqiao.dataplane.gateway.errors import HomeInUse
from jinqiao.dataplane.gateway.exporting import export
from jinqiao.dataplane.gateway.keyed import KeyedDigest, answer_salt
from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket
from jinqiao.dataplane.gateway.replicas import replicate
from jinqiao.dataplane.gateway.settings import read_settings, trusting
from jinqiao.dataplane.gateway.workers import Workers
from jinqiao.dataplane.node.errors import RotationPending
from jinqiao.dataplane.node.rotation import rotate
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.keystore import write_durably

logger = logging.getLogger(__name__)

# threads beside the one of the calls wait a little longer for the interpreter: changing hands less often is worth 6 % of calls
SWITCH_EVERY_S = 0.02
GARBAGE_AFTER = 20_000  # objects made and not dropped
READY_AFTER_S = 0.05  # the server begins to listen in the next moment
ROTATE_WITHIN_S = 60.0


async def serve(home: Path, host: str, port: int, *, descriptor: int | None = None, tell: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. SIGHUP reads settings and certificates anew.

    A worker serves on the socket `descriptor`, and writes to `tell` when it is ready. Raises what `Gateway.start` raises.
    """
    _many_files()
    sys.setswitchinterval(SWITCH_EVERY_S)
    gateway = create_app(home, shared=descriptor is not None)
    await gateway.start()
    # calls leave next to nothing behind that only the search for garbage could find: it need not look after every few of them
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    try:
        listening = socket.socket(fileno=descriptor) if descriptor is not None else listening_socket(host, port)
    except OSError:
        await gateway.stop()
        raise
    server = HttpServer(gateway, listening)
    loop = asyncio.get_running_loop()
    kept: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        kept.add(task)
        task.add_done_callback(kept.discard)

    async def end() -> None:
        if not gateway.draining:
            await gateway.drain()
            server.stop()

    async def reload() -> None:
        try:
            await gateway.reload()
        except (JinqiaoError, OSError) as problem:
            logger.error("nothing was read anew: %s", getattr(problem, "code", type(problem).__name__))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: begin(end()))
    loop.add_signal_handler(signal.SIGHUP, lambda: begin(reload()))
    logger.info("the gateway listens on %s:%d", host, port)
    if tell is not None:
        loop.call_later(READY_AFTER_S, _tell_ready, tell)
    try:
        await server.serve_calls()
    finally:
        await gateway.stop()


def _tell_ready(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)


def _many_files() -> None:
    """As many connections as the machine allows: slow ones must not keep the places of others."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(
    home: Path,
    host: str = "127.0.0.1",
    port: int = 8010,
    *,
    descriptor: int | None = None,
    tell: int | None = None,
) -> int:
    """Run until told to stop; the exit code of the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(home, host, port, descriptor=descriptor, tell=tell))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`jinqiao gateway run|register|fingerprint|export|salt|rotate|replica`; the exit code: 0 done, 1 it failed, 2 wrong command."""
    options = _parser().parse_args(argv)
    logs.set_up()
    try:
        match options.command:
            case "register":
                return _register(options)
            case "fingerprint":
                return _show_fingerprint(homes.load(options.home).identity.key_id)
            case "export":
                manifest = export(homes.load(options.home), options.out)
                batches = sum(lane.last_batch - lane.first_batch + 1 for lane in manifest.lanes)
                sys.stdout.write(f"{options.out}: {batches} batches, {len(manifest.lanes)} lanes\n")
                return 0
            case "salt":
                home = homes.load(options.home)
                sys.stdout.write(f"{answer_salt(KeyedDigest(home.suite, home.evidence_secret), options.call).hex()}\n")
                return 0
            case "rotate":
                return _show_fingerprint(rotate_identity(options.home))
            case "replica":
                replicate(options.home, options.to, options.name)
                sys.stdout.write(f"{options.to}\n")
                return 0
            case "work":
                return run(options.home, descriptor=options.socket, tell=options.tell)
        if options.workers > 1:
            return Workers(options.home, options.host, options.port, options.workers).run()
        return run(options.home, options.host, options.port)
    except (JinqiaoError, OSError, sqlite3.Error) as problem:
        if not isinstance(problem, JinqiaoError):
            sys.stderr.write(f"{problem}\n")
            return 1
        for language in ("zh", "en"):
            text = problem.text(language)
            sys.stderr.write(f"{text.message} [{problem.code}] {text.mend}\n")
        return 1


def _register(options: argparse.Namespace) -> int:
    home: Path = options.home
    admission = homes.register(home, options.platform, options.code, options.name, options.suite, options.ca_file)
    sys.stdout.write(f"{admission.node_id}\n")
    return _show_fingerprint(homes.load(home).identity.key_id)


def _show_fingerprint(key_id: str) -> int:
    sys.stdout.write(f"密钥指纹 fingerprint: {fingerprint(key_id)}\n")
    return 0


def rotate_identity(folder: Path, *, within_s: float = ROTATE_WITHIN_S) -> str:
    """A new key for the gateway; its key id. Where the gateway's process runs, it is asked to do it.

    Raises RotationPending where it has not come about within that time (it will, when the platform is reached), PlatformAway,
    PlatformRefused, HomeNotPrepared, SettingsNotValid.
    """
    home = trusting(homes.load(folder), read_settings(folder))
    try:
        lock = home.lock()
    except HomeInUse:
        return _rotated_by_process(home, within_s)
    try:
        return rotate(home).new_key_id
    finally:
        os.close(lock)


def _rotated_by_process(home: homes.GatewayHome, within_s: float) -> str:
    request, before = home.path / homes.ROTATE_REQUEST, home.identity.key_id
    write_durably(request, b"")
    end = time.monotonic() + within_s
    while request.exists():
        if time.monotonic() > end:
            raise RotationPending(home=home.path.name)
        time.sleep(0.1)
    now = homes.load(home.path).identity.key_id
    if now == before:
        raise RotationPending(home=home.path.name)
    return now


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jinqiao gateway", description="查询网关 A query gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("run", help="运行网关 serve calls")
    serving.add_argument("home", type=Path, metavar="HOME")
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=8010)
    serving.add_argument("--workers", type=int, default=1, metavar="N", help="几个进程 so many processes on one socket")
    working = commands.add_parser("work")  # what --workers starts; nobody types it
    working.add_argument("home", type=Path)
    working.add_argument("--socket", type=int, required=True)
    working.add_argument("--tell", type=int, required=True)
    registering = commands.add_parser("register", help="凭接入码登记 register by the one-time code")
    registering.add_argument("home", type=Path, metavar="HOME")
    registering.add_argument("--platform", required=True, metavar="URL")
    registering.add_argument("--code", required=True)
    registering.add_argument("--name", required=True)
    registering.add_argument("--suite", choices=SUITE_NAMES, default="international")
    registering.add_argument("--ca-file", type=Path, metavar="FILE")
    showing = commands.add_parser("fingerprint", help="显示密钥指纹 show the fingerprint of the key")
    showing.add_argument("home", type=Path, metavar="HOME")
    exporting = commands.add_parser("export", help="导出调用存证包 write the evidence of calls as a pack")
    exporting.add_argument("home", type=Path, metavar="HOME")
    exporting.add_argument("--out", type=Path, required=True, metavar="PACK")
    salting = commands.add_parser("salt", help="取出一次应答的盐值 the salt of an answer, to prove it")
    salting.add_argument("home", type=Path, metavar="HOME")
    salting.add_argument("call", metavar="CALL")
    rotating = commands.add_parser("rotate", help="更换密钥 change the gateway's key")
    rotating.add_argument("home", type=Path, metavar="HOME")
    replicating = commands.add_parser(
        "replica", help="为另一台机器建立副本目录 make the home of a replica on another machine"
    )
    replicating.add_argument("home", type=Path, metavar="HOME")
    replicating.add_argument("to", type=Path, metavar="NEW")
    replicating.add_argument("--name", required=True, help="小写字母开头 with which its lanes begin")
    return parser

"""A gateway as a process of its own, with granian in this very process: killed is killed, nothing is left behind."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import create_app
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

HEADERS_WITHIN_MS = 10_000


async def serve(home: Path, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises what `Gateway.start` raises."""
    gateway = create_app(home)
    await gateway.start()
    server = Server(
        gateway,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.warning,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    logger.info("the gateway listens on %s:%d", host, port)
    try:
        await server.serve()
    finally:
        await gateway.stop()


def run(home: Path, host: str = "127.0.0.1", port: int = 8010) -> int:
    """Run until told to stop; the exit code of the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(home, host, port))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`jinqiao gateway run|register|verify`; the exit code: 0 done, 1 it failed (or the evidence is broken), 2 wrong command."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        match options.command:
            case "register":
                admission = homes.register(options.home, options.platform, options.code, options.name, options.suite)
                sys.stdout.write(f"{admission.node_id}\n")
                return 0
            case "verify":
                return _verify(options.home)
        return run(options.home, options.host, options.port)
    except (JinqiaoError, FileNotFoundError) as problem:
        if not isinstance(problem, JinqiaoError):
            sys.stderr.write(f"{problem}\n")
            return 1
        for language in ("zh", "en"):
            text = problem.text(language)
            sys.stderr.write(f"{text.message} [{problem.code}] {text.mend}\n")
        return 1


def _verify(home: Path) -> int:
    verdict = verify(home / homes.EVIDENCE if home.is_dir() else home)
    if verdict.ok:
        sys.stdout.write(f"ok: {verdict.batches} batches, {verdict.records} records\n")
        return 0
    sys.stdout.write(f"broken: {verdict.place}: {verdict.reason}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jinqiao gateway", description="查询网关 A query gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("run", help="运行网关 serve calls")
    serving.add_argument("home", type=Path, metavar="HOME")
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=8010)
    registering = commands.add_parser("register", help="凭接入码登记 register by the one-time code")
    registering.add_argument("home", type=Path, metavar="HOME")
    registering.add_argument("--platform", required=True, metavar="URL")
    registering.add_argument("--code", required=True)
    registering.add_argument("--name", required=True)
    registering.add_argument("--suite", choices=SUITE_NAMES, default="international")
    verifying = commands.add_parser("verify", help="校验调用证据 check the evidence of calls offline")
    verifying.add_argument("home", type=Path, metavar="HOME|FILE")
    return parser

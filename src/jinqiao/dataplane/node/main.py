"""A node as a process of its own: `jinqiao node run HOME`, `jinqiao node register HOME --platform URL --code CODE --name NAME`."""

import argparse
import logging
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.errors import HomeNotWritable
from jinqiao.dataplane.node.process import Node
from jinqiao.kernel.contracts.exchange import NodeAdmission
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.errors import JinqiaoError

__all__ = ["main", "register", "run"]


def run(home: Path, *, once: bool = False) -> int:
    """Work until SIGTERM or SIGINT; the exit code. With `once`: one poll and what it brought; 1 where the platform is away
    or the ledger failed.

    Raises HomeNotPrepared, HomeInUse, HomeNotWritable and what the key store raises.
    """
    with Node(homes.load(home)) as node:

        def end(number: int, frame: FrameType | None) -> None:
            node.stop()

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if once:
                return 0 if node.run_once() else 1
            return 0 if node.run() else 1
        except sqlite3.Error as problem:  # the ledger in the loop itself: a node that cannot write down must not go on
            raise HomeNotWritable(home=home.name) from problem
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def register(
    home: Path, platform_url: str, code: str, name: str, suite: str = "international", ca_file: Path | None = None
) -> NodeAdmission:
    """Make the home and register its identity by the one-time code (see `home.register`)."""
    return homes.register(home, platform_url, code, name, suite, ca_file)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 it failed, 2 wrong command."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if options.command == "register":
            admission = register(
                options.home, options.platform, options.code, options.name, options.suite, options.ca_file
            )
            sys.stdout.write(f"{admission.node_id}\n")
            return 0
        return run(options.home, once=options.once)
    except JinqiaoError as problem:
        for language in ("zh", "en"):
            text = problem.text(language)
            sys.stderr.write(f"{text.message} [{problem.code}] {text.mend}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jinqiao node", description="前置节点 A department's front-end node.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="运行节点 work for the platform")
    running.add_argument("home", type=Path, metavar="HOME")
    running.add_argument("--once", action="store_true", help="领取并办完一次即退出 one poll, then end")
    registering = commands.add_parser("register", help="凭接入码登记 register by the one-time code")
    registering.add_argument("home", type=Path, metavar="HOME")
    registering.add_argument("--platform", required=True, metavar="URL")
    registering.add_argument("--code", required=True)
    registering.add_argument("--name", required=True)
    registering.add_argument("--suite", choices=SUITE_NAMES, default="international")
    registering.add_argument("--ca-file", type=Path, metavar="FILE")
    return parser

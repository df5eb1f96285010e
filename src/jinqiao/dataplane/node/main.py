"""The command `jinqiao node`: run a node, register it, change its key, carry bundles, look into a quarantine.

node run HOME [--once]                                         work for the platform
node register HOME --platform URL --code CODE --name NAME      register by the one-time code; shows the fingerprint to compare
node register HOME --offline --code CODE --name NAME --to FILE    the same as a file, where no network joins them
node admit HOME FILE                                           the platform's answer to that file
node fingerprint HOME                                          the fingerprint of the node's key
node rotate HOME                                               a new key; nobody enters a password again (carried: by bundles)
node export HOME --to FOLDER|FILE                              pack what the platform is to get
node import HOME FILE                                          take what the platform packed, and work it
node anchors HOME --to FILE [--gateway NUMBER]                 the anchors that it countersigned, for `jinqiao verify --anchors`
    node quarantine HOME RUN --to FILE.xlsx                        the rows that a run set aside
    node resubmit HOME RUN FILE.xlsx                               the same rows, corrected: a run of their own
"""

import argparse
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType

from jinqiao.dataplane.node import bundles, quarantine
from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.errors import HomeInUse, HomeNotWritable, RotationPending
from jinqiao.dataplane.node.process import Node
from jinqiao.dataplane.node.rotation import begin_carried
from jinqiao.dataplane.node.rotation import rotate as rotate_keys
from jinqiao.dataplane.node.witness import seen_anchors
from jinqiao.kernel.contracts.exchange import NodeAdmission
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.keystore import write_durably

__all__ = ["main", "register", "rotate", "run"]

ROTATE_WITHIN_S = 60.0


def run(home: Path, *, once: bool = False) -> int:
    """Work until SIGTERM or SIGINT; the exit code. With `once`: one poll and what it brought; 1 where the platform is away
    or the ledger failed.

    Raises HomeNotPrepared, HomeInUse, HomeNotWritable, HomeCarried and what the key store raises.
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


def rotate(folder: Path, *, within_s: float = ROTATE_WITHIN_S) -> str:
    """A new key for the node; its key id. Where the node's process runs, it is asked to do it; of a node that is carried, the
    next bundles do it.

    Raises RotationPending where it has not come about within that time (it will, when the platform is reached), PlatformAway,
    PlatformRefused.
    """
    home = homes.load(folder)
    if home.is_carried:
        return begin_carried(home)
    try:
        with Node(home):
            return rotate_keys(home).new_key_id
    except HomeInUse:
        request = folder / homes.ROTATE_REQUEST
        write_durably(request, b"")
    end = time.monotonic() + within_s
    while request.exists():
        if time.monotonic() > end:
            raise RotationPending(home=folder.name)
        time.sleep(0.1)
    now = homes.load(folder).identity.key_id
    if now == home.identity.key_id:
        raise RotationPending(home=folder.name)
    return now


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 it failed, 2 wrong command."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    work: Callable[[argparse.Namespace], int] = options.work
    try:
        return work(options)
    except JinqiaoError as problem:
        for language in ("zh", "en"):
            text = problem.text(language)
            sys.stderr.write(f"{text.message} [{problem.code}] {text.mend}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    return run(options.home, once=options.once)


def _register(options: argparse.Namespace) -> int:
    if options.offline:
        if options.to is None:
            sys.stderr.write("--offline 需要 --to FILE  --offline needs --to FILE\n")
            return 2
        public = homes.write_registration(options.home, options.to, options.code, options.name, options.suite)
        return _show_fingerprint(public.key_id)
    if options.platform is None:
        sys.stderr.write("需要 --platform URL  --platform URL is needed\n")
        return 2
    admission = register(options.home, options.platform, options.code, options.name, options.suite, options.ca_file)
    sys.stdout.write(f"{admission.node_id}\n")
    return _show_fingerprint(homes.load(options.home).identity.key_id)


def _admit(options: argparse.Namespace) -> int:
    sys.stdout.write(f"{homes.admit(options.home, options.file).node_id}\n")
    return 0


def _fingerprint(options: argparse.Namespace) -> int:
    return _show_fingerprint(homes.load(options.home).identity.key_id)


def _rotate(options: argparse.Namespace) -> int:
    code = _show_fingerprint(rotate(options.home))
    if homes.load(options.home).is_carried:
        sys.stdout.write("新密钥随下一个摆渡包送往平台，回包导入后启用  the next bundles bring it into use\n")
    return code


def _export(options: argparse.Namespace) -> int:
    with closing(Node(homes.load(options.home))) as node:
        sys.stdout.write(f"{bundles.export(node, options.to)}\n")
    return 0


def _import(options: argparse.Namespace) -> int:
    with closing(Node(homes.load(options.home))) as node:
        taken = bundles.take(node, options.file)
    if not taken.is_new:
        sys.stdout.write(f"第 {taken.sequence} 号包此前已导入 bundle {taken.sequence} was taken before\n")
        return 0
    sys.stdout.write(
        f"第 {taken.sequence} 号包：指令 {taken.commands}，数据块 {taken.chunks}"
        f"  bundle {taken.sequence}: {taken.commands} commands, {taken.chunks} chunks\n"
    )
    if taken.skipped:
        numbers = ", ".join(map(str, taken.skipped))
        sys.stdout.write(
            f"未收到第 {numbers} 号包，内容已含在本包  bundles {numbers} never came; this one repeats them\n"
        )
    return 0


def _quarantine(options: argparse.Namespace) -> int:
    home = homes.load(options.home)
    write_durably(options.to, quarantine.workbook(home, home.spool, quarantine.order_of_run(home, options.run)))
    sys.stdout.write(f"{options.to}\n")
    return 0


def _resubmit(options: argparse.Namespace) -> int:
    sys.stdout.write(f"{quarantine.resubmit(homes.load(options.home), options.run, options.file)}\n")
    return 0


def _anchors(options: argparse.Namespace) -> int:
    kept = seen_anchors(homes.load(options.home).path, options.gateway)
    if not kept:
        sys.stderr.write("本节点没有副署过锚  this node has countersigned no anchor\n")
        return 1
    write_durably(options.to, "".join(f"{line}\n" for line in kept).encode(), 0o644)
    sys.stdout.write(f"{options.to}: {len(kept)}\n")
    return 0


def _show_fingerprint(key_id: str) -> int:
    sys.stdout.write(f"密钥指纹 fingerprint: {fingerprint(key_id)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jinqiao node", description="前置节点 A department's front-end node.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, words: str, work: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words)
        made.add_argument("home", type=Path, metavar="HOME")
        made.set_defaults(work=work)
        return made

    running = command("run", "运行节点 work for the platform", _run)
    running.add_argument("--once", action="store_true", help="领取并办完一次即退出 one poll, then end")
    registering = command("register", "凭接入码登记 register by the one-time code", _register)
    registering.add_argument("--platform", metavar="URL")
    registering.add_argument("--code", required=True)
    registering.add_argument("--name", required=True)
    registering.add_argument("--suite", choices=SUITE_NAMES, default="international")
    registering.add_argument("--ca-file", type=Path, metavar="FILE")
    registering.add_argument("--offline", action="store_true", help="隔离网：写成文件 no network: write a file")
    registering.add_argument("--to", type=Path, metavar="FILE")
    admitting = command("admit", "导入平台对登记文件的答复 take the platform's answer to a registration file", _admit)
    admitting.add_argument("file", type=Path, metavar="FILE")
    command("fingerprint", "显示密钥指纹 show the fingerprint of the key", _fingerprint)
    command("rotate", "更换密钥 change the node's key", _rotate)
    exporting = command("export", "导出摆渡包 pack a bundle for the platform", _export)
    exporting.add_argument("--to", type=Path, required=True, metavar="FOLDER|FILE")
    importing = command("import", "导入摆渡包并办理 take a bundle of the platform and work it", _import)
    importing.add_argument("file", type=Path, metavar="FILE")
    keeping = command("anchors", "取出副署过的锚 write the anchors that the node countersigned, one a line", _anchors)
    keeping.add_argument("--to", type=Path, required=True, metavar="FILE")
    keeping.add_argument("--gateway", default="", metavar="NUMBER", help="只要这个网关的 of this gateway only")
    reading = command("quarantine", "取出隔离数据 write the rows that a run set aside", _quarantine)
    reading.add_argument("run", metavar="RUN")
    reading.add_argument("--to", type=Path, required=True, metavar="FILE.xlsx")
    handing_in = command("resubmit", "重报更正后的数据 hand corrected rows in", _resubmit)
    handing_in.add_argument("run", metavar="RUN")
    handing_in.add_argument("file", type=Path, metavar="FILE.xlsx")
    return parser

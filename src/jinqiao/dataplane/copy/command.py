"""`jinqiao copy`: one table from one place to another, exactly once, with its proof.

Exit codes: 0 copied and reconciled, 1 the two sides differ, 3 the arguments are wrong, 4 the source failed, 5 the target failed,
6 checks failed, 130 stopped by hand. Whatever the code, the same command goes on where it was.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from jinqiao.dataplane.copy.copying import Copying, CopyRequest, CopyResult, SideFailed
from jinqiao.dataplane.copy.places import place_of
from jinqiao.dataplane.errors import RunStopped
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, Delivery, Progress, Reconcile
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.errors import JinqiaoError

COPIED, DIFFERS, WRONG, SOURCE, TARGET, CHECKS, STOPPED = 0, 1, 3, 4, 5, 6, 130
MODES = (CopyMode.FULL, CopyMode.WATERMARK, CopyMode.DIFF)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as ended:
        return COPIED if ended.code == 0 else WRONG
    try:
        request = _request(options)
        copying = Copying(request, _spool(options))
    except JinqiaoError as problem:
        return _failed(problem, WRONG, as_json=options.json)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    shown = None if options.json or not sys.stderr.isatty() else _show
    try:
        with closing(copying):
            result = copying.run(progress=shown, stop=stopping.is_set)
    except SideFailed as failure:
        return _side_failed(failure, as_json=options.json)
    except RunStopped as problem:
        return _failed(problem, STOPPED, as_json=options.json)
    except JinqiaoError as problem:
        return _failed(problem, WRONG, as_json=options.json)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _tell(result, as_json=options.json)
    return COPIED if result.reconciled else DIFFERS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinqiao copy", description="独立使用交换引擎复制一张表。Copy one table with the exchange engine alone."
    )
    parser.add_argument("source", metavar="SOURCE", help="来源 postgresql://… mysql://… sqlite:///… odbc:… or a file")
    parser.add_argument("target", metavar="TARGET", help="目标 likewise")
    parser.add_argument("--table", default="", help="来源表 table of the source (a file names its own)")
    parser.add_argument("--to", default="", help="目标表 table of the target; the source's name where left out")
    parser.add_argument("--mode", type=CopyMode, choices=MODES, default=CopyMode.FULL, metavar="full|watermark|diff")
    parser.add_argument(
        "--delivery", type=Delivery, choices=tuple(Delivery), metavar="mirror|upsert|append|history|reload",
        help="交付方式 what happens to rows that are there; by default as the mode has it",
    )  # fmt: skip
    parser.add_argument("--key", default="", metavar="A,B", help="主键列 columns that tell rows apart")
    parser.add_argument("--watermark", default="", metavar="COLUMN", help="水位列 column that grows with each change")
    parser.add_argument("--overlap", type=int, default=300, metavar="SECONDS", help="回看 read again before the cursor")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="并行读取 readers at the source, at most")
    parser.add_argument("--chunk-rows", type=int, default=40_000, metavar="N")
    parser.add_argument("--mask", action="append", default=[], metavar="COLUMN=MASK", help="脱敏 " + "|".join(Mask))
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="COLUMN=CHECK[:JSON]",
        help="检查 e.g. id_number=identity_number",
    )
    parser.add_argument("--quarantine-limit", type=float, default=0.01, metavar="SHARE")
    parser.add_argument("--rows-per-s", type=int, metavar="N")
    parser.add_argument("--mb-per-s", type=float, metavar="N")
    parser.add_argument(
        "--reconcile", type=Reconcile, choices=tuple(Reconcile), default=Reconcile.COUNTS, metavar="counts|content"
    )
    parser.add_argument("--suite", choices=SUITE_NAMES, default="international")
    parser.add_argument(
        "--spool", type=Path, metavar="DIR", help="暂存目录 where chunks are staged and the cursor is kept"
    )
    parser.add_argument("--json", action="store_true", help="结果以 JSON 输出 result as JSON")
    return parser


def _request(options: argparse.Namespace) -> CopyRequest:
    """Raises AddressNotUnderstood, CopyArgumentWrong."""
    from jinqiao.dataplane.errors import CopyArgumentWrong

    source, target = place_of(options.source), place_of(options.target)
    table = options.table or source.table
    if not table:
        raise CopyArgumentWrong(argument="--table")
    if options.mode is CopyMode.WATERMARK and not options.watermark:
        raise CopyArgumentWrong(argument="--watermark")
    if options.parallel < 1 or options.chunk_rows < 1:
        raise CopyArgumentWrong(argument="--parallel" if options.parallel < 1 else "--chunk-rows")
    masks: dict[str, Mask] = {}
    for given in options.mask:
        column, _, mask = given.partition("=")
        if not column or mask not in tuple(Mask):
            raise CopyArgumentWrong(argument="--mask")
        masks[column] = Mask(mask)
    checks = []
    for given in options.check:
        column, _, rule = given.partition("=")
        check, _, parameters = rule.partition(":")
        try:
            checks.append(CheckRule(check=check, item=column, parameters=json.loads(parameters) if parameters else {}))
        except ValueError:
            raise CopyArgumentWrong(argument="--check") from None
    return CopyRequest(
        source=source,
        target=target,
        table=table,
        to=options.to or target.table or table.rpartition(".")[2],
        mode=options.mode,
        delivery=options.delivery,
        keys=tuple(name for name in options.key.split(",") if name),
        watermark=options.watermark,
        overlap_s=options.overlap,
        parallel=options.parallel,
        chunk_rows=options.chunk_rows,
        masks=masks,
        checks=tuple(checks),
        quarantine_limit=options.quarantine_limit,
        rows_per_s=options.rows_per_s,
        mb_per_s=options.mb_per_s,
        reconcile=options.reconcile,
        suite=options.suite,
    )


def _spool(options: argparse.Namespace) -> Path:
    if options.spool is not None:
        return Path(options.spool)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "jinqiao" / "copy"


def _side_failed(failure: SideFailed, *, as_json: bool) -> int:
    problem = failure.problem
    if not isinstance(problem, JinqiaoError):
        # neither message nor values: a driver's words may quote a row
        sys.stderr.write(f"{failure.side}: {type(problem).__name__}\n")
        return SOURCE if failure.side == "source" else TARGET
    if problem.code.startswith("checks."):
        return _failed(problem, CHECKS, as_json=as_json)
    if problem.code.startswith(("pipeline.order.", "source.column.", "transforms.")):
        return _failed(problem, WRONG, as_json=as_json)
    return _failed(problem, SOURCE if failure.side == "source" else TARGET, as_json=as_json)


def _failed(problem: JinqiaoError, code: int, *, as_json: bool) -> int:
    if as_json:
        text = problem.text("en")
        told: dict[str, Any] = {"code": problem.code, "message": text.message, "mend": text.mend, "exit": code}
        sys.stdout.write(json.dumps({"problem": told, "reconciled": False}, ensure_ascii=False) + "\n")
        return code
    for language in ("zh", "en"):
        words = problem.text(language)
        sys.stderr.write(f"{words.message} [{problem.code}] {words.mend}\n")
    return code


def _tell(result: CopyResult, *, as_json: bool) -> None:
    shown = result.to_json()
    if as_json:
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
        return
    rows = shown["rows"]
    sys.stdout.write(
        f"读取 {rows['read']:,} · 新增 {rows['inserted']:,} · 更新 {rows['updated']:,} · 删除 {rows['deleted']:,} ·"
        f" 未变 {rows['unchanged']:,} · 隔离 {rows['quarantined']:,} · 目标表 {rows['target']:,}\n"
        f"read, inserted, updated, deleted, unchanged, quarantined, in the target; {shown['bytes'] / 1e6:,.1f} MB"
        f" in {len(shown['chunks'])} chunks, {shown['seconds']['total']:.1f} s, {shown['snapshot']}\n"
        f"{'对账一致 reconciled' if result.reconciled else '内容不一致 contents differ'} ({shown['reconcile']})"
        f" {result.manifest.batch_digest}\n"
    )


def _show(progress: Progress) -> None:
    total = f" / {progress.rows_total:,}" if progress.rows_total else ""
    sys.stderr.write(f"\r\x1b[K{progress.stage.value} {progress.rows_done:,}{total}")
    sys.stderr.flush()

"""`jinqiao copy`: one table from one place to another, exactly once, with its proof.

`arguments.EPILOG` has the exit codes, docs/copy.md the whole contract. Every end with `--json` writes one JSON object: the result, or
`{"problem": {"code", "message", "mend", "exit"}, "reconciled": false}`.
"""

import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from types import FrameType
from typing import Any

from jinqiao.dataplane.copy.arguments import parser, request_of, spool_of
from jinqiao.dataplane.copy.copying import Copying, CopyResult, SideFailed
from jinqiao.dataplane.errors import CopyFault, CopySourceFault, CopySpoolFailed, CopyTargetFault, RunStopped
from jinqiao.kernel.contracts.exchange import Progress
from jinqiao.kernel.errors import JinqiaoError

COPIED, DIFFERS, WRONG, SOURCE, TARGET, CHECKS, FAULT, STOPPED = 0, 1, 3, 4, 5, 6, 70, 130
_ARGUMENTS = (
    "pipeline.order.", "source.column.", "source.option.", "source.odbc.string", "transforms.",
    "checks.rule.unknown", "checks.rule.parameters",
)  # fmt: skip
"""Codes of problems that come to light at a side, and are those of an argument."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        options = parser().parse(words)
        copying = Copying(request_of(options), spool_of(options))
        result = _run(copying, None if as_json or not sys.stderr.isatty() else _show)
    except SystemExit:  # --help has said what was asked
        return COPIED
    except Exception as problem:  # noqa: BLE001 -- every end has its code, and with --json its object
        judged, code = _judged(problem)
        return _failed(judged, code, as_json=as_json)
    _tell(result, as_json=as_json)
    return COPIED if result.reconciled else DIFFERS


def _run(copying: Copying, shown: Callable[[Any], None] | None) -> CopyResult:
    """The copy, which SIGTERM and SIGINT stop. Raises SideFailed, RunStopped."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with closing(copying):
            return copying.run(progress=shown, stop=stopping.is_set)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _judged(problem: Exception) -> tuple[JinqiaoError, int]:
    """What is told of a problem, and the exit code. A foreign error's own words are not repeated: a driver's may quote a row."""
    match problem:
        case SideFailed():
            return _of_side(problem.side, problem.problem)
        case RunStopped():
            return problem, STOPPED
        case JinqiaoError():
            return problem, WRONG
        case OSError():
            return CopySpoolFailed(reason=problem.strerror or type(problem).__name__), WRONG
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return CopyFault(kind=type(problem).__name__, at=f"{last.name}:{last.lineno}"), FAULT


def _of_side(side: str, problem: BaseException) -> tuple[JinqiaoError, int]:
    code = SOURCE if side == "source" else TARGET
    if not isinstance(problem, JinqiaoError):
        fault = CopySourceFault if side == "source" else CopyTargetFault
        return fault(kind=type(problem).__name__), code
    if problem.code.startswith(_ARGUMENTS):
        return problem, WRONG
    return problem, CHECKS if problem.code.startswith("checks.") else code


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
        f" {result.manifest.batch_digest}\n" + (f"签批 signed off: {result.sign_off}\n" if result.sign_off else "")
    )


def _show(progress: Progress) -> None:
    total = f" / {progress.rows_total:,}" if progress.rows_total else ""
    sys.stderr.write(f"\r\x1b[K{progress.stage.value} {progress.rows_done:,}{total}")
    sys.stderr.flush()

"""The arguments of `jinqiao copy`, from the command line to a request."""

import argparse
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jinqiao.dataplane.copy.copying import CopyRequest
from jinqiao.dataplane.copy.places import Place, place_of
from jinqiao.dataplane.errors import CopyArgumentWrong, CopySignOffMissing, CopySourceNotDeclared, CopyTargetNotPossible
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, Delivery, Reconcile
from jinqiao.kernel.contracts.tables import Engine, Mask
from jinqiao.kernel.crypto.suites import SUITE_NAMES

MODES = (CopyMode.FULL, CopyMode.WATERMARK, CopyMode.DIFF)
LONGEST_SIGN_OFF = 200  # signs, as the ledger's column has them
EPILOG = """\
A password may stand in PGPASSWORD, MYSQL_PWD, ODBC_USER and ODBC_PASSWORD, or JINQIAO_HTTP_TOKEN: then it is on no command line.

Exit codes: 0 copied and reconciled; 1 copied, but the contents of the two sides differ; 3 an argument is wrong, or the spool cannot
be used; 4 the source failed; 5 the target failed; 6 checks stopped the copy; 70 a fault of this program; 130 stopped by hand.
Whatever the code, the same command goes on where it was. With --json standard output has one JSON object, whatever happens.

Every option, the JSON field by field, examples: docs/copy.md."""


class Parser(argparse.ArgumentParser):
    """Raises CopyArgumentWrong, which names the argument and never what was given for it: an address may hold a password."""

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """Raises CopyArgumentWrong; SystemExit(0) for --help."""
        try:
            options, surplus = self.parse_known_args(argv)
        except argparse.ArgumentError as problem:
            raise CopyArgumentWrong(argument=problem.argument_name or "") from None
        if surplus:
            name = surplus[0].partition("=")[0]
            raise CopyArgumentWrong(argument=name if name.startswith("--") else "SOURCE TARGET")
        return options

    def error(self, message: str) -> NoReturn:
        """What argparse says only here: a positional argument is missing."""
        raise CopyArgumentWrong(argument="SOURCE TARGET")


def parser() -> Parser:
    made = Parser(
        prog="jinqiao copy",
        description="独立使用交换引擎复制一张表。Copy one table with the exchange engine alone.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
    )
    _add_places(made)
    _add_way(made)
    _add_limits(made)
    made.add_argument("--suite", choices=SUITE_NAMES, default="international", help="算法 of digests and encryption")
    made.add_argument(
        "--spool", type=Path, metavar="DIR", help="暂存目录 where chunks are staged and the cursor is kept;"
        " by default $XDG_STATE_HOME/jinqiao/copy or ~/.local/state/jinqiao/copy",
    )  # fmt: skip
    made.add_argument("--json", action="store_true", help="结果以 JSON 输出 result as one JSON object")
    return made


def _add_places(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add("source", metavar="SOURCE", help="来源 postgresql://… mysql://… sqlite:///… odbc:… https://… or a file")
    add("target", metavar="TARGET", help="目标 likewise, but for https://")
    add("--table", default="", metavar="T", help="来源表 table of the source (a file names its own)")
    add("--to", default="", metavar="U", help="目标表 table of the target; the source's name where left out")
    more = "连接选项 options of the connector in a JSON or TOML file (docs/connectors.md)"
    add("--source-options", type=Path, metavar="FILE", help=f"{more}; an https:// source needs them")
    add("--target-options", type=Path, metavar="FILE", help=more)


def _add_way(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add("--mode", type=CopyMode, choices=MODES, default=CopyMode.FULL, metavar="full|watermark|diff", help="方式; full")
    add(
        "--delivery", type=Delivery, choices=tuple(Delivery), metavar="mirror|upsert|append|history|reload",
        help="交付方式 what happens to rows that are there; by default upsert with a watermark, mirror otherwise",
    )  # fmt: skip
    add(
        "--sign-off", default="", metavar="TEXT",
        help="签批 who allows a reload, which empties the table first, and why; stands in the target's ledger",
    )  # fmt: skip
    add("--key", default="", metavar="A,B", help="主键列 columns that tell rows apart; by default the primary key")
    add("--watermark", default="", metavar="COLUMN", help="水位列 column that grows with each change")
    add("--overlap", type=int, default=300, metavar="SECONDS", help="回看 read again before the cursor; 300")
    add("--mask", action="append", default=[], metavar="COLUMN=MASK", help="脱敏 " + "|".join(Mask))
    add(
        "--check", action="append", default=[], metavar="COLUMN=CHECK[:JSON]",
        help="检查 e.g. id_number=identity_number (docs/checks.md)",
    )  # fmt: skip
    add(
        "--quarantine-limit", type=float, default=0.01, metavar="SHARE",
        help="隔离上限 share of the rows, from 0 to 1, above which nothing is delivered; 0.01",
    )  # fmt: skip
    add(
        "--reconcile", type=Reconcile, choices=tuple(Reconcile), default=Reconcile.COUNTS, metavar="counts|content",
        help="对账 content reads both sides again; counts",
    )  # fmt: skip


def _add_limits(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add("--parallel", type=int, default=2, metavar="N", help="并行读取 readers at the source, at most; 2")
    add("--chunk-rows", type=int, default=40_000, metavar="N", help="每块行数 rows of a chunk; 40000")
    add("--rows-per-s", type=int, metavar="N", help="限速 rows a second read at the source, at most")
    add("--mb-per-s", type=float, metavar="N", help="限速 megabytes a second read at the source, at most")


def request_of(options: argparse.Namespace) -> CopyRequest:
    """Raises AddressNotUnderstood, CopyArgumentWrong, CopySignOffMissing, CopySourceNotDeclared, CopyTargetNotPossible."""
    _check(options)
    source = place_of(options.source, _options_in(options.source_options, "--source-options"))
    target = place_of(options.target, _options_in(options.target_options, "--target-options"))
    if source.connection.engine is Engine.HTTP and not source.connection.options:
        raise CopySourceNotDeclared()
    if target.connection.engine is Engine.HTTP:
        raise CopyTargetNotPossible()
    table = options.table or source.table
    if not table:
        raise CopyArgumentWrong(argument="--table")
    return CopyRequest(
        source=source,
        target=target,
        table=table,
        to=_to(options, target, table),
        mode=options.mode,
        delivery=options.delivery,
        keys=tuple(name for name in options.key.split(",") if name),
        watermark=options.watermark,
        overlap_s=options.overlap,
        parallel=options.parallel,
        chunk_rows=options.chunk_rows,
        masks=_masks(options.mask),
        checks=tuple(_check_rule(given) for given in options.check),
        quarantine_limit=options.quarantine_limit,
        rows_per_s=options.rows_per_s,
        mb_per_s=options.mb_per_s,
        reconcile=options.reconcile,
        suite=options.suite,
        sign_off=" ".join(options.sign_off.split()),
    )


def spool_of(options: argparse.Namespace) -> Path:
    if options.spool is not None:
        return Path(options.spool)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "jinqiao" / "copy"


def _check(options: argparse.Namespace) -> None:
    for argument, is_right in (
        ("--watermark", bool(options.watermark) or options.mode is not CopyMode.WATERMARK),
        ("--overlap", options.overlap >= 0),
        ("--parallel", options.parallel >= 1),
        ("--chunk-rows", options.chunk_rows >= 1),
        ("--quarantine-limit", 0 <= options.quarantine_limit <= 1),
        ("--rows-per-s", options.rows_per_s is None or options.rows_per_s >= 1),
        ("--sign-off", len(options.sign_off) <= LONGEST_SIGN_OFF),
        ("--mb-per-s", options.mb_per_s is None or options.mb_per_s > 0),
    ):
        if not is_right:
            raise CopyArgumentWrong(argument=argument)
    is_signed = bool(options.sign_off.strip())
    if options.delivery is Delivery.RELOAD and not is_signed:
        raise CopySignOffMissing()
    if is_signed and options.delivery is not Delivery.RELOAD:
        raise CopyArgumentWrong(argument="--sign-off")


def _to(options: argparse.Namespace, target: Place, table: str) -> str:
    return str(options.to or target.table or table.rpartition(".")[2])


def _masks(given: list[str]) -> dict[str, Mask]:
    masks: dict[str, Mask] = {}
    for one in given:
        column, _, mask = one.partition("=")
        if not column or mask not in tuple(Mask):
            raise CopyArgumentWrong(argument="--mask")
        masks[column] = Mask(mask)
    return masks


def _check_rule(given: str) -> CheckRule:
    column, _, rule = given.partition("=")
    check, _, parameters = rule.partition(":")
    try:
        found = json.loads(parameters) if parameters else {}
    except ValueError:
        raise CopyArgumentWrong(argument="--check") from None
    if not column or not check or not isinstance(found, dict):
        raise CopyArgumentWrong(argument="--check")
    return CheckRule(check=check, item=column, parameters=found)


def _options_in(file: Path | None, argument: str) -> dict[str, Any]:
    """What a file of options holds: TOML by its name, otherwise JSON. Raises CopyArgumentWrong."""
    if file is None:
        return {}
    read: Callable[[str], Any] = tomllib.loads if file.suffix == ".toml" else json.loads
    try:
        found = read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CopyArgumentWrong(argument=argument) from None
    if not isinstance(found, dict):
        raise CopyArgumentWrong(argument=argument)
    return found

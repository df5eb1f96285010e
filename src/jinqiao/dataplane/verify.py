"""`jinqiao verify`: check evidence of calls offline, and what is claimed of one call. Needs no home, no platform, no network.

FILE is a pack of evidence, a proof of one call, the receipt of a run, the log of a gateway (`evidence.db`), or the home of a gateway.

Exit codes: 0 whole (and the answer shown fits), 1 damaged (or the answer shown does not fit), 2 the command is wrong or the file
cannot be read, 3 whole, but points are open that a person must look into, 4 the claimed answer is refuted.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinqiao.dataplane.evidence.verify import verify as verify_log
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import CallRecord, KnownIdentity
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError, Language
from jinqiao.kernel.evidence.checking import Head, Verdict
from jinqiao.kernel.evidence.packs import open_pack, verify_pack
from jinqiao.kernel.evidence.proofs import AnswerSays, answer_says, find_call, prove_inclusion
from jinqiao.kernel.evidence.statements import Statement, verify_statement
from jinqiao.kernel.keystore import write_durably
from jinqiao.kernel.moments import CHINA

WHOLE, DAMAGED, WRONG, OPEN_POINTS, REFUTED = 0, 1, 2, 3, 4
_SQLITE = b"SQLite format 3\x00"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except JinqiaoError as problem:
        _tell_problem(problem, options)
        return WRONG
    except (OSError, ValueError) as problem:
        _print(f"{options.file}: {problem.strerror if isinstance(problem, OSError) else problem}", sys.stderr)
        return WRONG


def _run(options: argparse.Namespace) -> int:
    if options.prove:
        return _prove(options)
    told = _checked(options)
    verdict, record = told.verdict, told.record
    report = _report(verdict)
    if told.receipt is not None:
        report["receipt"] = told.receipt.to_json()
    code = DAMAGED if not verdict.ok else OPEN_POINTS if verdict.findings else WHOLE
    if options.answer is not None:
        record = record or _find(options)
        by = suite(verdict.suite)
        claimed = options.claim.read_bytes() if options.claim else None
        says = answer_says(by, record, bytes.fromhex(options.salt), options.answer.read_bytes(), claimed)
        report["answer"] = says.value
        if verdict.ok:
            code = {AnswerSays.DIFFERS: DAMAGED, AnswerSays.REFUTED: REFUTED}.get(says, code)
    elif options.call and record is None:
        record = _find(options)
    if record is not None:
        report["record"] = record.to_json()
    report["exit"] = code
    if options.json:
        _print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _tell(verdict, report, record, options.language)
    return code


def _checked(options: argparse.Namespace) -> Statement:
    """The verdict on the file, and the record or the receipt that a statement is about. Raises OSError, ValueError."""
    file: Path = options.file
    anchors = _anchors(options.anchors) if options.anchors else []
    if file.is_dir():
        if options.seen or options.identities:
            raise ValueError("--seen, --identities 不用于网关目录  do not go with a gateway's home")
        from jinqiao.dataplane.gateway.exporting import verify_home

        return Statement(verify_home(file, anchors))
    with file.open("rb") as opened:
        head = opened.read(16)
    if anchors and (head == _SQLITE or head.lstrip()[:1] == b"{"):
        raise ValueError("--anchors 用于存证包或网关目录  --anchors goes with a pack or a gateway's home")
    if options.identities and head.lstrip()[:1] != b"{":
        raise ValueError("--identities 用于证明或回执  --identities goes with a proof or a receipt")
    seen = _seen(options.seen)
    if seen and head.lstrip()[:1] == b"{":
        raise ValueError("--seen 用于存证包或 evidence.db  --seen goes with a pack or an evidence.db")
    if head == _SQLITE:
        return Statement(verify_log(file, heads=seen))
    trusted = _trusted(options.trust)
    if head.lstrip()[:1] == b"{":
        return verify_statement(file.read_bytes(), trusted, _identities(options.identities))
    return Statement(verify_pack(file, trusted=trusted, anchors=anchors, heads=seen))


def _prove(options: argparse.Namespace) -> int:
    if options.out is None:
        _print("--prove 需要 --out FILE  --prove needs --out FILE", sys.stderr)
        return WRONG
    with open_pack(options.file) as pack:
        proof = prove_inclusion(pack, options.prove)
    write_durably(options.out, proof.canonical() + b"\n", 0o644)
    _print(str(options.out))
    return WHOLE


def _find(options: argparse.Namespace) -> CallRecord:
    if not options.call:
        raise ValueError("--answer 需要 --call ID  --answer needs --call ID")
    with open_pack(options.file) as pack:
        return find_call(pack, options.call).record


def _trusted(given: Sequence[str]) -> frozenset[str]:
    """Key ids: given themselves (groups of four may be spaced), or in a file, one a line."""
    found = set()
    for entry in given:
        path = Path(entry)
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else [entry]:
            found.add("".join(line.split()).lower())
    return frozenset(found - {""})


def _anchors(file: Path) -> list[SignedMessage]:
    """Anchors that somebody else kept: SignedMessages, one a line. Raises ValueError."""
    try:
        return [
            SignedMessage.from_json(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines() if line
        ]
    except ContractBroken as problem:
        raise ValueError(f"{file}: no anchors") from problem


def _seen(file: Path | None) -> dict[str, Head]:
    """Where the lanes ended in an earlier check: the report that it printed with --json. Raises ValueError."""
    try:
        lanes = json.loads(file.read_bytes())["lanes"] if file else {}
        return {str(lane): (int(end["last_batch"]), str(end["chain"])) for lane, end in lanes.items()}
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{file}: no report of a check") from problem


def _identities(file: Path | None) -> list[KnownIdentity]:
    """Public identities known from elsewhere, as the `identities.json` of a pack has them. Raises ValueError."""
    try:
        return [KnownIdentity.from_json(entry) for entry in json.loads(file.read_bytes())] if file else []
    except (ContractBroken, TypeError) as problem:
        raise ValueError(f"{file}: no identities") from problem


# ── words ──


def _report(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": verdict.ok,
        "gateway": verdict.gateway,
        "suite": verdict.suite,
        "exported_by": verdict.exported_by,
        "purpose": verdict.purpose,
        "exported_at": verdict.exported_at.isoformat() if verdict.exported_at else None,
        "batches": verdict.batches,
        "records": verdict.records,
        "anchors": verdict.anchors,
        "witnesses": list(verdict.witnesses),
        "lanes": {
            lane: {"first_batch": verdict.first_batches.get(lane, batch), "last_batch": batch, "chain": chain}
            for lane, (batch, chain) in verdict.heads.items()
        },
        "deleted": [
            {
                "lane": one.lane,
                "first_batch": one.first_batch,
                "last_batch": one.last_batch,
                "at": one.at.isoformat(),
                "keep_days": one.keep_days,
                "reason": one.reason,
            }
            for one in verdict.deleted
        ],
        "signers": [
            {"node": one.node, "kind": one.kind, "key_id": str(one.identity.get("key_id"))} for one in verdict.signers
        ],
        "findings": [finding.to_json() for finding in verdict.findings],
        "more_findings": verdict.more_findings,
    }


def _tell(verdict: Verdict, report: dict[str, Any], record: CallRecord | None, language: Language) -> None:
    zh = language == "zh"
    receipt = report.get("receipt")
    if verdict.ok and receipt:
        _print("有效：交换回执" if zh else "valid: receipt of a run")
    elif verdict.ok:
        words = f"完整：{verdict.batches} 批，{verdict.records} 条记录，{verdict.anchors} 个锚"
        _print(
            words if zh else f"whole: {verdict.batches} batches, {verdict.records} records, {verdict.anchors} anchors"
        )
    else:
        _print("已损坏" if zh else "damaged")
    for finding in verdict.findings:
        _print(f"  [{finding.code.value}] {finding.text(language)}")
    if verdict.more_findings:
        _print(f"  … +{verdict.more_findings}")
    for one in verdict.deleted:
        on = one.at.astimezone(CHINA).date().isoformat()
        _print(
            f"  通道 {one.lane} 第 {one.first_batch}–{one.last_batch} 批：按规定（保存 {one.keep_days} 天）于 {on} 删除"
            if zh
            else f"  lane {one.lane}, batches {one.first_batch}–{one.last_batch}: deleted by rule"
            f" ({one.keep_days} days) on {on}"
        )
    for witness in verdict.witnesses:
        _print(f"  {'副署' if zh else 'countersigned by'} {witness}")
    for signer in verdict.signers:
        mark = fingerprint(str(signer.identity.get("key_id")))
        _print(f"  {'签名者' if zh else 'signed by'} {signer.node} ({signer.kind}): {mark}")
    if receipt:
        names = f"{receipt['run_id']}: {receipt['provider_node']} → {receipt['consumer_node']}, {receipt['rows']}"
        _print(f"{'运行' if zh else 'run'} {names} {'行' if zh else 'rows'}, {receipt['batch_digest']}")
    if record is not None:
        _print(
            f"{'调用' if zh else 'call'} {record.call_id}: {record.at.isoformat()} {record.service} {record.application}"
            f" {record.outcome}"
        )
    says = {
        "fits": ("所出示的应答正是该调用的应答", "the answer shown is the one that the call was given"),
        "differs": (
            "所出示的应答（以此盐值）不是该调用的应答",
            "the answer shown, with this salt, is not that of the call",
        ),
        "refuted": (
            "所主张的应答不实：该调用给出的是另一应答",
            "the claimed answer is false: the call was given another",
        ),
    }
    if "answer" in report:
        _print(says[report["answer"]][0 if zh else 1])


def _tell_problem(problem: JinqiaoError, options: argparse.Namespace) -> None:
    text = problem.text(options.language)
    if options.json:
        _print(json.dumps({"code": problem.code, "message": text.message, "mend": text.mend}, ensure_ascii=False))
        return
    _print(f"{text.message} [{problem.code}] {text.mend}", sys.stderr)


def _print(line: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinqiao verify", description="离线校验调用存证。Check evidence of calls offline.", epilog=__doc__
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="存证包、证明、交换回执、网关目录或 evidence.db")
    parser.add_argument("--json", action="store_true", help="输出JSON print JSON")
    english = os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("en")
    parser.add_argument("--language", choices=("zh", "en"), default="en" if english else "zh")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="KEY|FILE", help="可信密钥指纹 key ids known from elsewhere"
    )
    parser.add_argument(
        "--anchors", type=Path, metavar="FILE", help="见证方留存的锚 anchors that a witness kept, one a line"
    )
    parser.add_argument(
        "--seen",
        type=Path,
        metavar="FILE",
        help="以前校验的JSON报告 the JSON report of an earlier check of the same lanes",
    )
    parser.add_argument(
        "--identities",
        type=Path,
        metavar="FILE",
        help="另行得到的公开身份，用于证明和回执 public identities from elsewhere, for a proof or a receipt",
    )
    parser.add_argument("--call", metavar="ID", default="", help="调用编号 a call")
    parser.add_argument("--answer", type=Path, metavar="FILE", help="所出示的应答 the answer that is shown")
    parser.add_argument("--salt", metavar="HEX", default="", help="应答的盐值 salt of the answer")
    parser.add_argument("--claim", type=Path, metavar="FILE", help="他人主张的应答 the answer that somebody claims")
    parser.add_argument("--prove", metavar="ID", default="", help="为一次调用写出证明 write a proof of one call")
    parser.add_argument("--out", type=Path, metavar="FILE")
    return parser

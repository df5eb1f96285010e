"""`jinqiao call`: ask a query service from a shell and see the answer, or why there is none and what to do.

Exit codes: 0 answered, 2 the command is wrong, 3 refused, 4 the gateway or its source is not available.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from jinqiao.dataplane.client import Answer, GatewayClient, GatewayUnreachable, Refused, SecretNotReadable
from jinqiao.kernel.errors import JinqiaoError, Language

ANSWERED, WRONG, REFUSED, NOT_THERE = 0, 2, 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    options = _parser().parse_args(argv)
    language: Language = options.language
    try:
        with GatewayClient(
            options.url,
            key_id=options.key_id,
            secret=_secret(options.secret_file),
            algorithm=options.algorithm,
            timeout_s=options.timeout,
            language=language,
            ca_file=options.ca_file,
        ) as gateway:
            answer = gateway.query(
                options.service,
                by=dict(options.by),
                items=[code for part in options.items for code in part.split(",") if code],
                purpose=options.purpose,
                case_number=options.case_number,
                end_user=options.end_user,
            )
    except Refused as refusal:
        _tell_refusal(refusal, language, as_json=options.json)
        return NOT_THERE if refusal.status >= 500 else REFUSED
    except JinqiaoError as problem:
        _tell_problem(problem, language, as_json=options.json)
        return NOT_THERE if isinstance(problem, GatewayUnreachable) else WRONG
    _tell_answer(answer, as_json=options.json, language=language)
    return ANSWERED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinqiao call", description="向查询网关发起一次签名调用。Make one signed call to a query gateway."
    )
    parser.add_argument("url", help="网关地址 root of the gateway, e.g. https://gateway:8443")
    parser.add_argument("service", help="服务标识 name of the query service")
    parser.add_argument("--key-id", required=True, help="应用密钥标识 id of the application's key")
    parser.add_argument(
        "--secret-file", required=True, type=Path, help="密钥文件，- 为标准输入 file with the secret, - for stdin"
    )
    parser.add_argument("--algorithm", default="hmac-sha256", choices=("hmac-sha256", "hmac-sm3"))
    parser.add_argument(
        "--by",
        action="append",
        required=True,
        type=_pair,
        metavar="CODE=VALUE",
        help="查询条件，可重复 key item, may be repeated",
    )
    parser.add_argument("--items", action="append", required=True, metavar="A,B", help="所要数据项 items to give")
    parser.add_argument("--purpose", required=True, help="用途 a purpose of the grant")
    parser.add_argument("--case-number", default="", help="业务编号 number of the case at hand")
    parser.add_argument("--end-user", default="", help="经办人 who asks")
    parser.add_argument("--ca-file", type=Path, help="信任的CA证书 certificate authority to trust")
    parser.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--language", choices=("zh", "en"), default=_default_language())
    parser.add_argument("--json", action="store_true", help="输出JSON print JSON")
    return parser


def _pair(text: str) -> tuple[str, str]:
    code, sign, value = text.partition("=")
    if not sign or not code:
        raise argparse.ArgumentTypeError("CODE=VALUE")
    return code, value


def _default_language() -> Language:
    return "en" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("en") else "zh"


def _secret(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise SecretNotReadable(file=str(file)) from problem
    if not text.strip():
        raise SecretNotReadable(file=str(file))
    return text.strip()


def _tell_answer(answer: Answer, *, as_json: bool, language: Language) -> None:
    if as_json:
        _print_json(
            {
                "call_id": answer.call_id,
                "items": answer.items,
                "rows": answer.rows,
                "count": answer.count,
                "truncated": answer.truncated,
                "salt": answer.salt,
            }
        )
        return
    for number, row in enumerate(answer.rows, 1):
        if number > 1:
            _print("")
        for code in answer.items:
            _print(f"{code}: {_shown(row.get(code))}")
    more = ("（还有更多）" if language == "zh" else " (there are more)") if answer.truncated else ""
    word = f"共 {answer.count} 条" if language == "zh" else f"{answer.count} rows"
    _print(f"{word}{more} · {answer.call_id}", sys.stderr)


def _tell_refusal(refusal: Refused, language: Language, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            {
                "code": refusal.refusal,
                "status": refusal.status,
                "message": refusal.message,
                "mend": refusal.mend,
                "call_id": refusal.call_id,
                "retry_after_s": refusal.retry_after_s,
            }
        )
        return
    _tell(refusal.refusal, refusal.message, refusal.mend, language)
    if refusal.call_id:
        _print(f"{'调用编号' if language == 'zh' else 'call'}: {refusal.call_id}", sys.stderr)


def _tell_problem(problem: JinqiaoError, language: Language, *, as_json: bool) -> None:
    text = problem.text(language)
    if as_json:
        _print_json({"code": problem.code, "message": text.message, "mend": text.mend})
        return
    _tell(problem.code, text.message, text.mend, language)


def _tell(code: str, message: str, mend: str, language: Language) -> None:
    _print(f"{message} [{code}]", sys.stderr)
    if mend:
        _print(f"{'怎么办' if language == 'zh' else 'What to do'}: {mend}", sys.stderr)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _print_json(value: Any) -> None:
    _print(json.dumps(value, ensure_ascii=False, indent=2))


def _print(line: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(line + "\n")

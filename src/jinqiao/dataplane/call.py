"""`jinqiao call`: ask a query service from a shell and see the answer, or why there is none and what to do.

Exit codes: 0 answered, 2 the command is wrong, 3 refused, 4 the gateway or its source is not available.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinqiao.dataplane import call_output as output
from jinqiao.dataplane.client import GatewayClient, GatewayUnreachable, KeyPair, Refused, SecretNotReadable
from jinqiao.kernel.errors import JinqiaoError, Language

ANSWERED, WRONG, REFUSED, NOT_THERE = 0, 2, 3, 4
OPERATIONS = ("query", "batch", "verify", "list", "count", "examples", "openapi")
_FILTER_OPERATORS = ("eq", "in", "ge", "le", "prefix")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    _check(parser, options)
    language: Language = options.language
    try:
        with _client(parser, options) as gateway:
            output.tell(_ask(gateway, options), as_json=options.json, language=language)
    except Refused as refusal:
        output.tell_refusal(refusal, language, as_json=options.json)
        return NOT_THERE if refusal.status >= 500 else REFUSED
    except JinqiaoError as problem:
        output.tell_problem(problem, language, as_json=options.json)
        return NOT_THERE if isinstance(problem, GatewayUnreachable) else WRONG
    return ANSWERED


def _client(parser: argparse.ArgumentParser, options: argparse.Namespace) -> GatewayClient:
    """Ends the program (2) where a certificate cannot be read."""
    by_pair, shown = options.key_file is not None, options.certificate
    secret = "" if by_pair else _secret(options.secret_file)
    key = KeyPair.load(options.key_file) if by_pair else None
    try:
        return GatewayClient(
            options.url,
            key_id=options.key_id,
            secret=secret,
            key=key,
            algorithm=options.algorithm,
            sandbox=options.sandbox,
            timeout_s=options.timeout,
            retries=options.retries,
            language=options.language,
            ca_file=options.ca_file,
            certificate=(shown, options.certificate_key or shown) if shown else None,
        )
    except OSError as problem:  # also of ssl: what stands there is no certificate, or not that of the key
        parser.error(f"--ca-file, --certificate: {problem.strerror or type(problem).__name__}")


def _ask(gateway: GatewayClient, options: argparse.Namespace) -> Any:
    service = options.service
    reason = {
        "purpose": options.purpose,
        "case_number": options.case_number,
        "end_user": options.end_user,
        "role": options.role,
    }
    items = [code for part in options.items for code in part.split(",") if code]
    filters = [_filter(one) for one in options.filter]
    match options.operation:
        case "openapi":
            return gateway.openapi()
        case "examples":
            return gateway.examples(service)
        case "batch" if options.keys_file is not None:
            return gateway.batch_file(service, options.keys_file, items=items, **reason)
        case "batch":
            return gateway.batch(service, by=[{code: value} for code, value in options.by], items=items, **reason)
        case "verify":
            return gateway.verify(service, by=dict(options.by), claims=dict(options.claim), **reason)
        case "count":
            return gateway.count(service, filter=filters, **reason)
        case "list":
            order = [_order(one) for one in options.order]
            pages = gateway.pages(
                service, items=items, filter=filters, order=order, page_size=options.page_size, **reason
            )
            return output.Rows(tuple(items), pages, options.most)
    return gateway.query(service, by=dict(options.by), items=items, **reason)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinqiao call", description="向查询网关发起签名调用。Make a signed call to a query gateway."
    )
    parser.add_argument("url", help="网关地址 root of the gateway, e.g. https://gateway:8443")
    parser.add_argument("service", nargs="?", default="", help="服务标识 name of the query service")
    parser.add_argument("--operation", choices=OPERATIONS, default="query", help="操作 what is asked")
    parser.add_argument("--sandbox", action="store_true", help="调用沙箱 ask the sandbox")
    parser.add_argument("--key-id", required=True, help="应用密钥标识 id of the application's key")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument(
        "--secret-file", type=Path, help="密钥文件，- 为标准输入 file with the secret, - for standard input"
    )
    key.add_argument("--key-file", type=Path, help="私钥PEM文件 private key of a registered key pair")
    parser.add_argument("--algorithm", default="hmac-sha256", choices=("hmac-sha256", "hmac-sm3"))
    _question_arguments(parser)
    parser.add_argument("--ca-file", type=Path, help="信任的CA证书 certificate authority to trust")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="客户端证书 client certificate, for mutual TLS"
    )
    parser.add_argument(
        "--certificate-key", type=Path, metavar="FILE", help="证书的私钥 its private key, if not beside it"
    )
    parser.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument(
        "--retries", type=int, default=2, help="没有答复过的调用重试次数 attempts after one without answer"
    )
    parser.add_argument("--language", choices=("zh", "en"), default=_default_language())
    parser.add_argument("--json", action="store_true", help="输出JSON print JSON")
    return parser


def _question_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--by",
        action="append",
        default=[],
        type=_pair,
        metavar="CODE=VALUE",
        help="查询条件，可重复；批量时每个是一个对象 key item, may be repeated; of a batch each is a key",
    )
    add("--keys-file", type=Path, help="批量查询对象的CSV文件 file of keys of a batch")
    add("--items", action="append", default=[], metavar="A,B", help="所要数据项 items to give")
    add("--claim", action="append", default=[], type=_pair, metavar="CODE=VALUE", help="待核验的值 value to verify")
    add(
        "--filter",
        action="append",
        default=[],
        type=_condition,
        metavar="CODE:OP:VALUE",
        help="筛选 op: eq in ge le prefix",
    )
    add("--order", action="append", default=[], metavar="CODE[:desc]", help="排序 order of a list")
    add("--page-size", type=int, help="每页行数 rows of a page")
    add("--most", type=int, default=0, help="列表最多取多少行 rows of a list at most, 0: all")
    add("--purpose", default="", help="用途 a purpose of the grant")
    add("--case-number", default="", help="业务编号 number of the case at hand")
    add("--end-user", default="", help="经办人 who asks")
    add("--role", default="", help="经办人角色 role of who asks")


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program (2) where the operation lacks what it needs."""
    operation = options.operation
    if operation == "openapi":
        return
    if not options.service:
        parser.error("SERVICE")
    if operation == "examples":
        options.sandbox = True
        return
    if not options.purpose:
        parser.error("--purpose")
    if operation in ("query", "verify") and not options.by:
        parser.error("--by")
    if operation == "batch" and bool(options.by) == (options.keys_file is not None):
        parser.error("--by / --keys-file")
    if operation in ("query", "batch", "list") and not options.items:
        parser.error("--items")
    if operation == "verify" and not options.claim:
        parser.error("--claim")


def _pair(text: str) -> tuple[str, str]:
    code, sign, value = text.partition("=")
    if not sign or not code:
        raise argparse.ArgumentTypeError("CODE=VALUE")
    return code, value


def _condition(text: str) -> tuple[str, str, str]:
    parts = text.split(":", 2)
    if len(parts) != 3 or not parts[0] or parts[1] not in _FILTER_OPERATORS:
        raise argparse.ArgumentTypeError("CODE:OP:VALUE")
    return parts[0], parts[1], parts[2]


def _filter(condition: tuple[str, str, str]) -> dict[str, Any]:
    code, operator, value = condition
    if operator == "in":
        return {"item": code, "op": operator, "values": value.split(",")}
    return {"item": code, "op": operator, "value": value}


def _order(text: str) -> dict[str, str]:
    code, _, direction = text.partition(":")
    return {"item": code, "direction": direction or "asc"}


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

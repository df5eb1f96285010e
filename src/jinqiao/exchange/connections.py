"""What each kind of data source needs and may be told: fields, options, and what must never stand in them.

Passwords and keys are sealed and stand in no other field: a connection string, an address or an option that holds one is refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.errors import ConnectionIncomplete, OptionUnknown, OptionWrong, SecretInOptions
from jinqiao.kernel import hosts
from jinqiao.kernel.contracts.tables import Connection, Engine

SERVERS = frozenset({Engine.POSTGRESQL, Engine.MYSQL})
WITH_ACCOUNT = frozenset({*SERVERS, Engine.ODBC, Engine.HTTP})
FILES = frozenset({Engine.SQLITE, Engine.CSV, Engine.EXCEL, Engine.JSONL, Engine.PARQUET, Engine.FOLDER})
NOT_WRITABLE = frozenset({Engine.HTTP})
"""Nothing is delivered there."""
DEFAULT_PORTS = {Engine.POSTGRESQL: 5432, Engine.MYSQL: 3306}
_TEXT_LENGTH = 1000
_SECRET_NAMES = re.compile(r"pass(word|wd|phrase)?|pwd|secret|token|api_?key|authorization|credential", re.IGNORECASE)
_SECRET_IN_STRING = re.compile(r"(^|;)\s*(pwd|password|uid|user\s*id?|user)\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a connection. `kind`: text, integer, boolean, choice, mapping (JSON object), list (JSON array)."""

    name: str
    kind: str
    label: str | Promise
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 2**31


def _integer(name: str, label: str | Promise, least: int, most: int) -> Option:
    return Option(name, "integer", label, least=least, most=most)


_TIMEOUT = _integer("connect_timeout_s", _("连接超时（秒）"), 1, 300)
_SCHEMA = Option("schema", "text", _("模式（schema）"))
_TYPES = Option("types", "mapping", _("列的类型"))
_ENCODING = Option("encoding", "choice", _("字符编码"), ("utf-8", "gb18030"))

OPTIONS: Mapping[Engine, tuple[Option, ...]] = {
    Engine.POSTGRESQL: (
        _SCHEMA,
        Option(
            "sslmode", "choice", _("TLS要求"), ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
        ),
        Option("sslrootcert", "text", _("受信根证书文件（节点上的路径）")),
        Option("sslcert", "text", _("客户端证书文件")),
        Option("sslkey", "text", _("客户端私钥文件")),
        Option("publication", "text", _("发布名称（变更日志方式）")),
        _TIMEOUT,
    ),
    Engine.MYSQL: (
        Option("tls", "boolean", _("使用TLS")),
        Option("ca", "text", _("受信根证书文件（节点上的路径）")),
        Option("cert", "text", _("客户端证书文件")),
        Option("key", "text", _("客户端私钥文件")),
        _TIMEOUT,
    ),
    Engine.SQLITE: (),
    Engine.ODBC: (
        Option(
            "dialect",
            "choice",
            _("方言"),
            ("generic", "postgresql", "kingbase", "mysql", "oracle", "dm", "sqlserver"),
        ),
        _SCHEMA,
        _integer("max_text_bytes", _("文本最长字节数"), 1, 2**30),
        _integer("max_binary_bytes", _("二进制最长字节数"), 1, 2**30),
        Option("text_encoding", "choice", _("驱动的文本编码"), ("utf-8", "utf-16")),
        _TIMEOUT,
    ),
    Engine.CSV: (
        _ENCODING,
        Option("delimiter", "text", _("分隔符")),
        Option("bom", "boolean", _("写入字节序标记")),
        _TYPES,
    ),
    Engine.EXCEL: (
        _integer("header_row", _("表头所在行"), 1, 1 << 20),
        _integer("digits", _("数字的有效位数"), 1, 17),
        _TYPES,
    ),
    Engine.JSONL: (_TYPES,),
    Engine.PARQUET: (),
    Engine.FOLDER: (_integer("max_file_mb", _("单个文件上限（MB）"), 1, 100_000),),
    Engine.HTTP: (
        Option("tables", "mapping", _("接口和列")),
        Option("auth", "mapping", _("认证方式")),
        Option("health", "mapping", _("健康探测")),
        _integer("timeout_s", _("每次请求超时（秒）"), 1, 600),
        _integer("retries", _("每页重试次数"), 0, 20),
        _integer("max_pages", _("最多页数"), 1, 10_000_000),
        _integer("max_mb", _("最多读取（MB）"), 1, 1_000_000),
        Option("ca", "text", _("受信根证书文件（节点上的路径）")),
    ),
}
"""The options of each engine, in the order of a form."""

_USUAL_SCHEMA = {Engine.POSTGRESQL: "public"}
_OF_INTERFACE = ("path", "query", "rows")
"""What of a table of an HTTP source says which rows it is; the rest says how they are read."""

Place = tuple[str, ...]


def place_of(at: Connection, table: str = "") -> Place:
    """Where a connection leads, to be compared: host, port, database or folder, schema; with a table of an HTTP source also which
    interface that is. Account, encryption, encoding and time-outs are no place."""
    schema = str(at.options.get("schema", "")) or _USUAL_SCHEMA.get(at.engine, "")
    database = at.database.rstrip("/") if at.engine in FILES or at.engine is Engine.HTTP else at.database
    interface = ""
    if at.engine is Engine.HTTP and table:
        said = at.options.get("tables", {}).get(table) or {}
        interface = json.dumps({name: said.get(name) or None for name in _OF_INTERFACE}, sort_keys=True)
    return (at.engine.value, at.host.strip().lower(), str(at.port or ""), database, schema, interface)


def check_fields(kind: Engine, *, host: str, user: str, database: str) -> None:
    """Raises ConnectionIncomplete, SecretInOptions, and for an address what `hosts.check_url` does."""
    missing = [label for label, value in (("host", host), ("user", user)) if kind in SERVERS and not value]
    if not database:
        missing.append("database")
    if missing:
        raise ConnectionIncomplete(missing=", ".join(missing))
    if kind is Engine.ODBC and _SECRET_IN_STRING.search(database):
        raise SecretInOptions(field="database")
    if kind is Engine.HTTP:
        _check_address(database)


def _check_address(url: str) -> None:
    """The host must be on this installation's list. A name that only the node can resolve is left to the node."""
    try:
        if _SECRET_NAMES.search(urlsplit(url).query):
            raise SecretInOptions(field="database")
    except ValueError as problem:
        raise hosts.AddressNotValid(reason="form") from problem
    try:
        hosts.check_url(url, hosts.reachable_hosts())
    except hosts.NameUnknown:
        return


def checked_options(kind: Engine, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they are kept, without empty ones. Raises OptionUnknown, OptionWrong, SecretInOptions."""
    known = {option.name: option for option in OPTIONS[kind]}
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if value in (None, ""):
            continue
        option = known.get(name)
        if option is None:
            if _SECRET_NAMES.search(name):
                raise SecretInOptions(field=name)
            raise OptionUnknown(option=name, engine=kind.value, known=", ".join(sorted(known)) or "-")
        kept[name] = _value(option, value)
    return kept


def _value(option: Option, value: Any) -> Any:
    wrong = OptionWrong(option=option.name, kind=option.kind)
    if option.kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise wrong
        try:
            number = int(value)
        except ValueError as problem:
            raise wrong from problem
        if not option.least <= number <= option.most:
            raise wrong
        return number
    if option.kind == "boolean":
        if not isinstance(value, bool):
            raise wrong
        return value
    if option.kind in ("mapping", "list"):
        if not isinstance(value, dict if option.kind == "mapping" else list):
            raise wrong
        _check_depths(option, value)
        return value
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH or "\n" in value or "\0" in value:
        raise wrong
    if option.choices and value not in option.choices:
        raise wrong
    return value


def _check_depths(option: Option, value: Any, depth: int = 0) -> None:
    """No secret hides in what is nested, and nothing is nested without end."""
    if depth > 8:
        raise OptionWrong(option=option.name, kind=option.kind)
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_depths(option, inner, depth + 1)
            if _SECRET_NAMES.fullmatch(str(name)) and isinstance(inner, str):
                raise SecretInOptions(field=f"{option.name}.{name}")
    elif isinstance(value, list):
        for inner in value:
            _check_depths(option, inner, depth + 1)

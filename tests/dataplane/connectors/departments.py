"""One table of everything that departments keep, made in each engine with its own means.

`ITEMS` say what is granted, with the types that the catalogue declares; `ROWS` the values as every engine must hand them on.
Truth stands as BOOLEAN, as 0 and 1, as Y and N and as 是 and 否; an instant with its zone arrives as wall-clock time in China.
"""

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType
from tests.servers import Server


def item(name: str, type_: LogicalType, **form: Any) -> GrantedItem:
    return GrantedItem(item=name, code=name, column=name, type=type_, **form)


TEXT = LogicalType.TEXT
ITEMS = (
    item("id", LogicalType.INTEGER),
    item("identity", TEXT, length=18),
    item("count_of", LogicalType.INTEGER),
    item("exact", LogicalType.DECIMAL, precision=38, scale=10),
    item("money", LogicalType.DECIMAL, precision=12, scale=2),
    item("measure", LogicalType.DOUBLE),
    item("truth", LogicalType.BOOLEAN),
    item("bit01", LogicalType.BOOLEAN),
    item("yes_no", LogicalType.BOOLEAN),
    item("shi_fou", LogicalType.BOOLEAN),
    item("born", LogicalType.DATE),
    item("at", LogicalType.DATETIME),
    item("instant", LogicalType.DATETIME),
    item("name", TEXT, length=200),
    item("note", TEXT),
    item("fixed", TEXT, length=6),
    item("scan", LogicalType.BINARY),
)
COLUMNS = tuple(
    Column(name=i.code, type=i.type, precision=i.precision, scale=i.scale, length=i.length, nullable=i.code != "id")
    for i in ITEMS
)
NAMES = tuple(i.code for i in ITEMS)
_CHINA = timedelta(hours=8)


def at(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


# CJK extensions B, C, D, E, F, G, H; a surname outside of GBK; combining marks; a family as one emoji; right-to-left
RARE = "𠮷𠀀𪜀𫝀𫠠𬺰𰀀𱍐䶮㐂 e\u0301 👨\u200d👩\u200d👧 \u202bعربى\u202c"
ROWS: tuple[dict[str, Any], ...] = (
    dict.fromkeys(NAMES) | {"id": 1},
    {
        "id": 2, "identity": "620302190001010015", "count_of": 2**63 - 1, "exact": Decimal("9" * 28 + "." + "9" * 10),
        "money": Decimal("1200.00"), "measure": 0.1, "truth": True, "bit01": True, "yes_no": True, "shi_fou": True,
        "born": date(1850, 12, 31), "at": at(2026, 3, 1, 8, 0, 0, 123456), "instant": at(2026, 3, 1, 8, 30), "name": RARE,
        "note": "第一行\n\"引号\",逗号;分号\t制表 '单引号' \\反斜杠 %s \\N NULL", "fixed": "ab", "scan": bytes(range(256)),
    },
    {
        "id": 3, "identity": "00012345678901234X", "count_of": -(2**63), "exact": Decimal("-" + "9" * 28 + ".0000000001"),
        "money": Decimal("-0.10"), "measure": 1.7976931348623157e308, "truth": False, "bit01": False, "yes_no": False,
        "shi_fou": False, "born": date(2150, 1, 1), "at": at(1899, 12, 31, 23, 59, 59, 999999), "instant": at(2026, 7, 1),
        "name": "", "note": "=1+1", "fixed": "abcdef", "scan": b"",
    },
    {
        "id": 4, "identity": "1", "count_of": 0, "exact": Decimal("0.0000000001"), "money": Decimal("0.00"), "measure": -5e-324,
        "truth": True, "bit01": False, "yes_no": True, "shi_fou": False, "born": date(1, 1, 1), "at": at(1, 1, 1),
        "instant": at(2000, 2, 29, 23, 59, 59), "name": "末尾有空格  ", "note": "长" * 20_000, "fixed": " x", "scan": b"\x00",
    },
    {
        "id": 5, "identity": "2", "count_of": 2**53 + 1, "exact": Decimal(10), "money": Decimal("9999999999.99"),
        "measure": 0.30000000000000004, "truth": False, "bit01": True, "yes_no": False, "shi_fou": True,
        "born": date(9999, 12, 31), "at": at(9999, 12, 31, 23, 59, 59, 999999), "instant": at(2037, 12, 31, 12),
        "name": "  开头有空格", "note": "+cmd|' /C calc'!A0", "fixed": "", "scan": "汉字".encode("gb18030"),
    },
)  # fmt: skip


def utc_of(row: dict[str, Any]) -> datetime | None:
    return None if row["instant"] is None else (row["instant"] - _CHINA).replace(tzinfo=UTC)


def words(row: dict[str, Any]) -> dict[str, Any]:
    """The row with truth in the words that a department chose."""
    pairs = {"bit01": (1, 0), "yes_no": ("Y", "N"), "shi_fou": ("是", "否")}
    return row | {name: None if row[name] is None else pair[not row[name]] for name, pair in pairs.items()}


def texts(row: dict[str, Any], *, truth: Sequence[str] = ("true", "false")) -> dict[str, str | None]:
    """The row as a text file has it."""
    shown: dict[str, str | None] = {}
    for name, value in words(row).items():
        if isinstance(value, bool):
            value = truth[not value]
        elif isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, float):
            value = repr(value)
        elif isinstance(value, Decimal):
            value = f"{value:f}"
        shown[name] = None if value is None else str(value)
    return shown


def into_sqlite(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    opened = sqlite3.connect(place.database)
    with opened:
        opened.execute(
            f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, identity VARCHAR(18), count_of BIGINT, exact DECIMAL_TEXT(38, 10),"
            " money DECIMAL_TEXT(12, 2), measure DOUBLE, truth BOOLEAN, bit01 INTEGER, yes_no CHAR(1), shi_fou TEXT, born DATE,"
            " at DATETIME, instant DATETIME, name VARCHAR(200), note TEXT, fixed CHAR(6), scan BLOB)"
        )
        for row in ROWS:
            values = words(row) | {name: texts(row)[name] for name in ("exact", "money", "born", "at", "instant")}
            opened.execute(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(NAMES))})", [values[name] for name in NAMES]
            )
    opened.close()


def into_postgresql(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    server: Server = request.getfixturevalue("postgresql_server")
    server.execute(
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, identity char(18), count_of bigint, exact numeric(38, 10),"
        " money numeric(12, 2), measure float8, truth boolean, bit01 smallint, yes_no char(1), shi_fou varchar(2), born date,"
        " at timestamp(6), instant timestamptz, name varchar(200), note text, fixed char(6), scan bytea)"
    )
    with server.connect() as opened, opened.cursor() as cursor:
        for row in ROWS:
            values = words(row) | {"instant": utc_of(row)}
            marks = ", ".join(["%s"] * len(NAMES))
            cursor.execute(f"INSERT INTO {table} VALUES ({marks})", [values[name] for name in NAMES])


def into_mariadb(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    server: Server = request.getfixturevalue("mariadb_server")
    opened = server.connect()
    with opened.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, identity char(18), count_of bigint, exact decimal(38, 10),"
            " money decimal(12, 2), measure double, truth boolean, bit01 tinyint, yes_no char(1), shi_fou varchar(2), born date,"
            " at datetime(6), instant timestamp(6) NULL, name varchar(200), note longtext, fixed char(6), scan longblob)"
            " CHARACTER SET utf8mb4"
        )
        cursor.execute("SET time_zone = '+00:00'")
        for row in ROWS:
            instant = utc_of(row)
            values = words(row) | {
                "instant": instant and instant.replace(tzinfo=None),
                "measure": texts(row)["measure"],  # the driver would write fifteen digits
            }
            marks = ", ".join(["%s"] * len(NAMES))
            cursor.execute(f"INSERT INTO {table} VALUES ({marks})", [values[name] for name in NAMES])
    opened.close()


def into_csv(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    """In the old national encoding, as programs of departments write it."""
    text = io.StringIO()
    text.write(",".join(NAMES) + "\r\n")
    for row in ROWS:
        fields = ["" if v is None else '"' + v.replace('"', '""') + '"' for v in texts(row).values()]
        text.write(",".join(fields) + "\r\n")
    assert len(list(csv.reader(io.StringIO(text.getvalue())))) == len(ROWS) + 1
    Path(place.database, f"{table}.csv").write_bytes(text.getvalue().encode("gb18030"))


def into_excel(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    """As a clerk's program writes it: numbers and dates as such where a workbook can hold them."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(list(NAMES))
    for number, row in enumerate(ROWS, start=2):
        shown = texts(row)
        for column, name in enumerate(NAMES, start=1):
            value: Any = shown[name]
            if name in ("id", "truth", "bit01"):
                value = words(row)[name]
            elif name == "money" and row[name] is not None:
                value = float(row[name])
            elif name in ("born", "instant") and row[name] is not None and row[name].year >= 1901:
                value = row[name]
            cell = sheet.cell(number, column, value)
            if isinstance(value, str):
                cell.data_type = "s"
    book.save(Path(place.database, f"{table}.xlsx"))


def into_jsonl(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    lines = []
    for row in ROWS:
        shown, parts = texts(row), []
        for name, value in words(row).items():
            if value is None:
                written = "null"
            elif isinstance(value, bool):
                written = "true" if value else "false"
            elif isinstance(value, int | float | Decimal):
                written = str(shown[name])
            else:
                written = json.dumps(shown[name], ensure_ascii=name == "name")
            parts.append(f"{json.dumps(name)}: {written}")
        lines.append("{" + ", ".join(parts) + "}\n")
    Path(place.database, f"{table}.jsonl").write_text("".join(lines), encoding="utf-8")


def into_parquet(request: pytest.FixtureRequest, place: Connection, table: str) -> None:
    types = {
        "id": pa.int64(), "identity": pa.string(), "count_of": pa.int64(), "exact": pa.decimal128(38, 10),
        "money": pa.decimal128(12, 2), "measure": pa.float64(), "truth": pa.bool_(), "bit01": pa.int8(), "yes_no": pa.string(),
        "shi_fou": pa.dictionary(pa.int8(), pa.string()), "born": pa.date32(), "at": pa.timestamp("us"),
        "instant": pa.timestamp("ms", "UTC"), "name": pa.large_string(), "note": pa.string(), "fixed": pa.string(),
        "scan": pa.large_binary(),
    }  # fmt: skip
    rows = [words(row) | {"instant": utc_of(row)} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(types.items()))), Path(place.database, f"{table}.parquet"))


FILL: dict[str, Callable[[pytest.FixtureRequest, Connection, str], None]] = {
    "sqlite": into_sqlite,
    "postgresql": into_postgresql,
    "mysql": into_mariadb,
    "csv": into_csv,
    "excel": into_excel,
    "jsonl": into_jsonl,
    "parquet": into_parquet,
    "odbc-postgresql": into_postgresql,
    "odbc-mysql": into_mariadb,
}


def expected(name: str) -> list[dict[str, Any]]:
    """The rows as a source of this kind must hand them on."""
    if name == "excel":  # a cell without text is an empty cell
        return [{key: None if value in ("", b"") else value for key, value in row.items()} for row in ROWS]
    return list(ROWS)

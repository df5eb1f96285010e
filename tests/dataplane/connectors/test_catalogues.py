"""Tables are described by the database's own catalogue: types, keys, comments; what has no type of ours is text."""

import sqlite3
from pathlib import Path

import pytest

from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.errors import TableMissing
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType
from tests.dataplane.connectors.test_round_trips import COLUMNS, both, table_of
from tests.dataplane.exchanges import read_table, sqlite_at, write_table
from tests.servers import Server


def described(columns: tuple[Column, ...]) -> dict[str, tuple[LogicalType, int | None, int | None, int | None]]:
    return {column.name: (column.type, column.length, column.precision, column.scale) for column in columns}


@pytest.mark.servers
def test_postgresql_types(postgresql_server: Server) -> None:
    postgresql_server.execute(
        "DROP SCHEMA IF EXISTS archive CASCADE",
        "DROP TABLE IF EXISTS kinds CASCADE",
        "DROP DOMAIN IF EXISTS area_code",
        "CREATE DOMAIN area_code AS varchar(6)",
        "CREATE TABLE kinds (a smallint, b integer, c bigint PRIMARY KEY, d numeric(10, 2), e numeric, f numeric(60, 5), g real,"
        " h double precision, i boolean, j date, k timestamp, l timestamptz, m bytea, n varchar(9), o char(4), p text, q uuid,"
        " r jsonb, s integer[], t interval, u inet, v area_code NOT NULL)",
        "COMMENT ON TABLE kinds IS '各种类型'",
        "COMMENT ON COLUMN kinds.n IS '名称'",
        "INSERT INTO kinds VALUES (1, 2, 3, 1.10, 1.10, 1.1, 0.1, 0.1, true, '2020-01-31', '2020-01-31 10:00',"
        " '2020-01-31 10:00+00', '\\x00ff', 'n', 'o', 'p', '00000000-0000-0000-0000-000000000001', '{\"a\": 1}', '{1,2}',"
        " '1 day', '10.0.0.1', '620300')",
        "CREATE VIEW kinds_seen AS SELECT a, n FROM kinds",
        "CREATE SCHEMA archive",
        "CREATE TABLE archive.old (a integer)",
        "ANALYZE kinds",
    )
    with open_source(postgresql_server.connection(), postgresql_server.password) as source:
        tables = {table.name: table for table in source.tables()}
        kinds = tables["kinds"]
        row = {column.name: column for column in kinds.columns}
        (values,) = read_table(source, "kinds", kinds.columns).to_pylist()

        assert {"kinds", "kinds_seen", "archive.old"} <= set(tables)
        assert source.schema("archive.old").columns[0].type is LogicalType.INTEGER
        with pytest.raises(TableMissing):
            source.schema("no_such_table")
    assert described(kinds.columns) == {
        "a": (LogicalType.INTEGER, None, None, None),
        "b": (LogicalType.INTEGER, None, None, None),
        "c": (LogicalType.INTEGER, None, None, None),
        "d": (LogicalType.DECIMAL, None, 10, 2),
        "e": (LogicalType.TEXT, None, None, None),
        "f": (LogicalType.TEXT, None, None, None),
        "g": (LogicalType.DOUBLE, None, None, None),
        "h": (LogicalType.DOUBLE, None, None, None),
        "i": (LogicalType.BOOLEAN, None, None, None),
        "j": (LogicalType.DATE, None, None, None),
        "k": (LogicalType.DATETIME, None, None, None),
        "l": (LogicalType.DATETIME, None, None, None),
        "m": (LogicalType.BINARY, None, None, None),
        "n": (LogicalType.TEXT, 9, None, None),
        "o": (LogicalType.TEXT, 4, None, None),
        "p": (LogicalType.TEXT, None, None, None),
        "q": (LogicalType.TEXT, None, None, None),
        "r": (LogicalType.TEXT, None, None, None),
        "s": (LogicalType.TEXT, None, None, None),
        "t": (LogicalType.TEXT, None, None, None),
        "u": (LogicalType.TEXT, None, None, None),
        "v": (LogicalType.TEXT, 6, None, None),
    }
    assert (kinds.comment, kinds.row_estimate) == ("各种类型", 1)
    assert (row["n"].comment, row["s"].native_type) == ("名称", "integer[]")
    assert ([name for name, column in row.items() if column.primary_key], row["v"].nullable) == (["c"], False)
    assert (values["e"], values["o"], values["s"], values["u"], values["v"]) == (
        "1.10",
        "o",
        "{1,2}",
        "10.0.0.1/32",
        "620300",
    )
    assert values["l"].isoformat() == "2020-01-31T18:00:00"  # wall-clock time in China
    assert values["g"] == pytest.approx(0.1, abs=1e-8)


@pytest.mark.servers
def test_mariadb_types(mariadb_server: Server) -> None:
    mariadb_server.execute(
        "DROP VIEW IF EXISTS kinds_seen",
        "DROP TABLE IF EXISTS kinds",
        "CREATE TABLE kinds (a tinyint, b int unsigned, c bigint PRIMARY KEY COMMENT '编号', d decimal(10, 2), e bigint unsigned,"
        " f decimal(60, 5), g float, h double, i boolean, j date, k datetime, l timestamp(6) NULL, m varbinary(9), n varchar(9),"
        " o char(4), p text, q longtext, r json, s enum('甲', '乙'), t time, u year, v bit(1), w bit(8), x geometry)"
        " CHARACTER SET gbk COMMENT '各种类型'",
        "SET time_zone = '+00:00'",
        "INSERT INTO kinds VALUES (1, 4294967295, 3, 1.10, 18446744073709551615, 1.1, 0.1, 0.1, true, '0001-01-01',"
        " '2020-01-31 10:00', '2020-01-31 10:00', x'00ff', '金桥', 'o', '', NULL, '{}', '乙', '10:00:00', 2020, 1, 255, POINT(1, 2))",
        "CREATE VIEW kinds_seen AS SELECT a, n FROM kinds",
    )
    with open_source(mariadb_server.connection(), mariadb_server.password) as source:
        tables = {table.name: table for table in source.tables()}
        kinds = tables["kinds"]
        (values,) = read_table(source, "kinds", kinds.columns).to_pylist()
        with pytest.raises(TableMissing):
            source.schema("no_such_table")
    assert "kinds_seen" in tables
    found = described(kinds.columns)
    assert {name: kind for name, (kind, *_) in found.items()} == {
        **dict.fromkeys("abcuw", LogicalType.INTEGER),
        **dict.fromkeys("de", LogicalType.DECIMAL),
        **dict.fromkeys("gh", LogicalType.DOUBLE),
        **dict.fromkeys("iv", LogicalType.BOOLEAN),
        **dict.fromkeys("kl", LogicalType.DATETIME),
        **dict.fromkeys("fnopqrstx", LogicalType.TEXT),
        "j": LogicalType.DATE,
        "m": LogicalType.BINARY,
    }
    assert (found["d"], found["e"]) == ((LogicalType.DECIMAL, None, 10, 2), (LogicalType.DECIMAL, None, 20, 0))
    assert (found["n"][1], found["q"][1]) == (9, None)
    assert (kinds.comment, kinds.columns[2].comment, kinds.columns[2].primary_key) == ("各种类型", "编号", True)
    assert (values["e"], values["n"], values["p"], values["q"], values["s"]) == (
        18446744073709551615,
        "金桥",
        "",
        None,
        "乙",
    )
    assert (values["i"], values["v"], values["w"], values["x"]) == (True, True, 255, "POINT(1 2)")
    assert values["l"].isoformat() == "2020-01-31T18:00:00"
    assert values["g"] == pytest.approx(0.1, abs=1e-8)
    assert values["g"] != 0.1


def test_sqlite_types(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute(
        "CREATE TABLE kinds (a INTEGER PRIMARY KEY, b VARCHAR(9) NOT NULL, c DECIMAL(10, 2), d NUMERIC, e DOUBLE, f BOOLEAN,"
        " g DATE, h DATETIME, i BLOB, j, k NVARCHAR(20), l DECIMAL_TEXT(38, 10), m BIGINT UNSIGNED, n POINT)"
    )
    connection.execute("INSERT INTO kinds (a, b, c, d) VALUES (1, '金', 1.1, 2.50)")
    connection.execute("CREATE VIEW kinds_seen AS SELECT a FROM kinds")
    connection.commit()
    connection.close()

    with open_source(sqlite_at(tmp_path / "a.db")) as source:
        tables = {table.name: table for table in source.tables()}
        kinds = tables["kinds"]
        (values,) = read_table(source, "kinds", kinds.columns).to_pylist()

    assert set(tables) == {"kinds", "kinds_seen"}
    assert kinds.row_estimate == 1
    assert described(kinds.columns) == {
        "a": (LogicalType.INTEGER, None, None, None),
        "b": (LogicalType.TEXT, 9, None, None),
        "c": (LogicalType.DECIMAL, None, 10, 2),
        "d": (LogicalType.TEXT, None, None, None),
        "e": (LogicalType.DOUBLE, None, None, None),
        "f": (LogicalType.BOOLEAN, None, None, None),
        "g": (LogicalType.DATE, None, None, None),
        "h": (LogicalType.DATETIME, None, None, None),
        "i": (LogicalType.BINARY, None, None, None),
        "j": (LogicalType.TEXT, None, None, None),
        "k": (LogicalType.TEXT, 20, None, None),
        "l": (LogicalType.DECIMAL, None, 38, 10),
        "m": (LogicalType.INTEGER, None, None, None),
        "n": (LogicalType.INTEGER, None, None, None),  # SQLite's own rule: it contains INT
    }
    assert (str(values["c"]), values["d"]) == ("1.10", "2.5")


@pytest.mark.servers
def test_the_ledger_is_nobodys_table(database: tuple[Connection, str]) -> None:
    with both(database) as (target, source):
        write_table(target, "visible", COLUMNS, ["编号"], table_of([]))

        assert not [table.name for table in source.tables() if table.name.startswith("jinqiao")]

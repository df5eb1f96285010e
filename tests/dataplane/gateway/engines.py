"""One table on each engine, with columns of every type, and a gateway before it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Connection, Engine, LogicalType, Operator, RowCondition
from tests.dataplane.gateway.world import ANN, PURPOSE, Caller, World, make_world, service, talk

COLUMNS = {
    Engine.SQLITE: (
        "id_no TEXT COLLATE NOCASE, name TEXT, whole INTEGER, amount DECIMAL(12,3), share REAL, yes BOOLEAN, day DATE,"
        " at DATETIME, bytes BLOB, area TEXT, note TEXT"
    ),
    Engine.POSTGRESQL: (
        "id_no char(18), name varchar(60), whole int, amount numeric(12,3), share double precision, yes boolean, day date,"
        " at timestamptz, bytes bytea, area text, note text"
    ),
    Engine.MYSQL: (
        "id_no varchar(18) COLLATE utf8mb4_unicode_ci, name varchar(60), whole int, amount decimal(12,3), share double,"
        " yes bit(1), day date, at datetime(6), bytes varbinary(20), area varchar(20), note text"
    ),
}
BYTES = {Engine.SQLITE: "x'00ff'", Engine.POSTGRESQL: "'\\x00ff'", Engine.MYSQL: "x'00ff'"}
YES = {Engine.SQLITE: "1", Engine.POSTGRESQL: "true", Engine.MYSQL: "b'1'"}
ZONED = {Engine.SQLITE: "", Engine.POSTGRESQL: "+08", Engine.MYSQL: ""}
NASTY = 'O\'Brien\\"; DROP TABLE 人口"; --%s%%'


def rows_sql(engine: Engine) -> str:
    quote = NASTY.replace("'", "''")
    if engine is Engine.MYSQL:
        quote = quote.replace("\\", "\\\\")
    return (
        f"INSERT INTO {table_of(engine)} VALUES"
        f" ('{ANN}', '安小雅', 42, 12.5, 0.1, {YES[engine]}, '2026-02-28', '2026-03-01 09:30:00{ZONED[engine]}', {BYTES[engine]}, '620302', 'secret'),"
        f" ('62030219900101002X', '{quote}', -1, NULL, NULL, NULL, NULL, NULL, NULL, '620302', 'secret'),"
        " ('620321000000000001', '外县', 1, 1, 1, NULL, NULL, NULL, NULL, '620321', 'secret')"
    )


def table_of(engine: Engine) -> str:
    return "`人口 表`" if engine is Engine.MYSQL else '"人口 表"'


ITEMS = tuple(
    GrantedItem(item=code, code=code, column=code, type=kind, scale=3 if kind is LogicalType.DECIMAL else None)
    for code, kind in {
        "id_no": LogicalType.TEXT,
        "name": LogicalType.TEXT,
        "whole": LogicalType.INTEGER,
        "amount": LogicalType.DECIMAL,
        "share": LogicalType.DOUBLE,
        "yes": LogicalType.BOOLEAN,
        "day": LogicalType.DATE,
        "at": LogicalType.DATETIME,
        "bytes": LogicalType.BINARY,
    }.items()
)
ALL = [item.code for item in ITEMS]


def world_of(tmp_path: Path, source: tuple[Connection, str, Any], **changes: Any) -> World:
    connection, password, _ = source
    world = make_world(tmp_path)
    grant = {
        "items": ITEMS,
        "row_filter": (RowCondition(column="area", operator=Operator.EQUAL, values=("620302",)),),
        **changes.pop("grant", {}),
    }
    sealed = replace(connection, sealed_password=world.gateway.seal(password.encode()) if password else "")
    world.services = (replace(service(sealed, grant=grant), table="人口 表", key_items=("id_no",), **changes),)
    world.publish()
    return world


def ask(world: World, **question: Any) -> Any:
    async def conversation(caller: Caller, gateway: Gateway) -> Any:
        return (await caller.ask(**{"items": ALL, "purpose": PURPOSE, **question})).json()

    return talk(world, conversation)

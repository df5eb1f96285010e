"""What tables a server behind ODBC has: from its own catalogue where the dialect knows one, else as its driver tells.

A driver's word on types is second best: one gives NUMERIC without bounds as 28 digits of which 6 are fraction.
"""

from dataclasses import dataclass

from jinqiao.dataplane.connectors.odbc_api import OdbcConnection, OdbcFailed, Row
from jinqiao.dataplane.connectors.odbc_dialects import Dialect, logical_type
from jinqiao.dataplane.connectors.odbc_errors import telling
from jinqiao.dataplane.errors import TableMissing
from jinqiao.kernel.contracts.tables import Column, LogicalType, TableSchema

OWN_TABLES = "jinqiao_"
_MOST_LENGTH = 1_000_000  # characters; a declared length beyond it is none
_SQL_TYPES = {  # of SQLColumns, where there is no catalogue to ask
    **dict.fromkeys((4, 5, -6, -5), LogicalType.INTEGER),
    **dict.fromkeys((2, 3), LogicalType.DECIMAL),
    **dict.fromkeys((6, 7, 8), LogicalType.DOUBLE),
    **dict.fromkeys((9, 91), LogicalType.DATE),
    **dict.fromkeys((11, 93), LogicalType.DATETIME),
    **dict.fromkeys((-2, -3, -4), LogicalType.BINARY),
    -7: LogicalType.BOOLEAN,
}


@dataclass(frozen=True, slots=True)
class Server:
    """What was found behind a connection string."""

    dialect: Dialect
    product: str
    version: str
    mark: str
    schema: str

    def quote(self, name: str) -> str:
        """A name that cannot end early. Raises TableMissing for names that no statement can carry."""
        if not name or "\0" in name or (not self.mark and not name.replace("_", "").isalnum()):
            raise TableMissing(table=name[:100])
        if self.mark == "[":
            return "[" + name.replace("]", "]]") + "]"
        return self.mark + name.replace(self.mark, self.mark * 2) + self.mark if self.mark else name

    def split(self, table: str) -> tuple[str, str]:
        schema, dot, name = table.partition(".")
        return (schema, name) if dot else (self.schema, table)

    def quoted(self, table: str) -> str:
        schema, name = self.split(table)
        return f"{self.quote(schema)}.{self.quote(name)}" if schema else self.quote(name)


def read_catalogue(control: OdbcConnection, server: Server, table: str | None = None) -> tuple[TableSchema, ...]:
    """Tables with their columns, as the database declares them; keys and estimates for one table only."""
    with telling(table or ""):
        if not server.dialect.catalogue:
            return _by_driver(control, server, table)
        schema, name = server.split(table) if table is not None else (server.schema, None)
        every = None if server.dialect.upper_names else ""
        rows = control.fetch(server.dialect.catalogue, (schema, name or every, name or every))
        tables: dict[str, list[Row]] = {}
        for row in rows:
            tables.setdefault(row[1] or "", []).append(row)
        found = []
        for known, members in tables.items():
            if table is None and known.lower().startswith(OWN_TABLES):
                continue
            shown = known if schema == server.schema and "." not in known else f"{schema}.{known}"
            keys = _keys(control, server, schema, known) if table is not None else []
            columns = tuple(_column(server.dialect, row, keys) for row in members)
            found.append(
                TableSchema(
                    name=shown,
                    columns=columns,
                    row_estimate=_estimate(control, server, schema, known) if table is not None else None,
                )
            )
        return tuple(found)


def _column(dialect: Dialect, row: Row, keys: list[str]) -> Column:
    name, kind, full, nullable, length, digits, places, fraction = row[2:10]
    native = (full or kind or "").lower()
    kind = (kind or "").lower()
    scale = fraction if kind.startswith(("timestamp", "datetime", "time")) else places
    type_, precision, scale_ = logical_type(dialect, kind, native, _int(digits), _int(scale))
    bounded = _int(length)
    return Column(
        name=name or "",
        type=type_,
        native_type=native if dialect.name != "postgresql" else kind,
        nullable=(nullable or "").upper() != "NO",
        length=bounded if type_ is LogicalType.TEXT and bounded and 0 < bounded < _MOST_LENGTH else None,
        precision=precision,
        scale=scale_,
        primary_key=(name or "") in keys,
    )


def _int(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _keys(control: OdbcConnection, server: Server, schema: str, table: str) -> list[str]:
    try:
        if server.dialect.name == "mysql":  # there a schema is what ODBC calls a catalogue
            return control.primary_keys(None, table, schema)
        return control.primary_keys(schema or None, table)
    except OdbcFailed:
        return []  # not every driver knows


def _estimate(control: OdbcConnection, server: Server, schema: str, table: str) -> int | None:
    if not server.dialect.estimate:
        return None
    try:
        rows = control.fetch(server.dialect.estimate, (schema, table))
    except OdbcFailed:
        return None
    number = _int(rows[0][0]) if rows else None
    return number if number is not None and number >= 0 else None


def _by_driver(control: OdbcConnection, server: Server, table: str | None) -> tuple[TableSchema, ...]:
    schema, name = server.split(table) if table is not None else (server.schema, "")
    names = (
        [name]
        if name
        else [known for _, known, _ in control.tables(schema or None) if not known.lower().startswith(OWN_TABLES)]
    )
    found = []
    for known in names:
        rows = control.columns(schema or None, known)
        if not rows:
            continue
        keys = _keys(control, server, schema, known)
        columns = []
        for row in rows:
            type_ = _SQL_TYPES.get(int(row[4] or 0), LogicalType.TEXT)
            size, digits = _int(row[6]), _int(row[8])
            if type_ is LogicalType.DECIMAL and not (size and 0 < size <= 38 and 0 <= (digits or 0) <= size):
                type_ = LogicalType.TEXT
            if type_ is LogicalType.DATETIME and (digits or 0) > 6:
                type_ = LogicalType.TEXT
            columns.append(
                Column(
                    name=row[3] or "",
                    type=type_,
                    native_type=(row[5] or "").lower(),
                    nullable=row[10] != "0",
                    length=size if type_ is LogicalType.TEXT and size and 0 < size < _MOST_LENGTH else None,
                    precision=size if type_ is LogicalType.DECIMAL else None,
                    scale=digits or 0 if type_ is LogicalType.DECIMAL else None,
                    primary_key=(row[3] or "") in keys,
                    comment=row[11] or "",
                )
            )
        found.append(
            TableSchema(name=known if schema == server.schema else f"{schema}.{known}", columns=tuple(columns))
        )
    return tuple(found)

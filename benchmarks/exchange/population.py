"""A population register of 23 columns, made by PostgreSQL itself from row numbers: the same on every machine.

Identity numbers are of nobody, with valid check signs but for one row in a thousand.
"""

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999, 4.3
_SUM = " + ".join(f"(ascii(substr(n17, {at + 1}, 1)) - 48) * {weight}" for at, weight in enumerate(_WEIGHTS))

# column, type in PostgreSQL, expression over i (from 1), birth and n17 (an identity number without its check sign)
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("id", "bigint", "i"),
    ("id_number", "varchar(18)", f"n17 || substr('10X98765432', 1 + ({_SUM} + (i % 1000 = 7)::int) % 11, 1)"),
    ("name", "varchar(64)", "'王' || chr(20000 + i % 5000) || chr(21000 + i % 700)"),
    ("sex", "varchar(1)", "(i % 2 + 1)::text"),
    ("birth_date", "date", "birth"),
    ("ethnic_code", "varchar(2)", "lpad((i % 56 + 1)::text, 2, '0')"),
    ("region_code", "varchar(6)", "'62030' || (i % 5)::text"),
    (
        "address",
        "varchar(200)",
        "'甘肃省金昌市金川区人民路' || i % 999 || '号幸福小区' || i % 30 || '幢' || i % 2999 || '室'",
    ),
    ("phone", "varchar(20)", "(13000000000 + i)::text"),
    ("marital_code", "varchar(2)", "(10 + i % 20)::text"),
    ("edu_code", "varchar(2)", "(10 + i % 80)::text"),
    ("occupation_code", "varchar(4)", "lpad((i % 9999)::text, 4, '0')"),
    ("household_no", "varchar(20)", "'620302' || lpad((i / 3)::text, 12, '0')"),
    ("household_rel", "varchar(2)", "lpad((i % 99)::text, 2, '0')"),
    ("residence_type", "bigint", "i % 5"),
    ("income", "numeric(12, 2)", "(i % 5000000)::numeric(12, 2) / 100"),
    ("is_resident", "boolean", "i % 5 > 0"),
    ("lon", "double precision", "102 + (i * 7919::bigint % 1000003) / 1000003.0"),
    ("lat", "double precision", "38 + (i * 104729::bigint % 1000003) / 1000003.0"),
    ("employer", "varchar(100)", "CASE WHEN i % 5 > 1 THEN '单位' || i % 50000 || '有限公司' END"),
    ("remark", "varchar(200)", "CASE WHEN i % 7 = 0 THEN '迁入登记' END"),
    ("created_at", "timestamp", "timestamp '2015-01-01' + i % 300000000 * interval '1 second'"),
    ("updated_at", "timestamp", "timestamp '2026-01-01' + i % 20000000 * interval '1 second'"),
)
NAMES = tuple(name for name, *_ in COLUMNS)
# the types of other engines where they have other words
MARIADB = {"boolean": "tinyint(1)", "double precision": "double", "timestamp": "datetime(6)"}
SQLITE = {"double precision": "double", "timestamp": "datetime"}

MASKS_AND_CHECKS = (
    "--mask", "name=name", "--mask", "phone=phone",
    "--check", "id_number=identity_number", "--check", "name=required", "--check", "region_code=required",
    "--check", 'sex=code_list:{"values": ["1", "2"]}',
    "--check", "ethnic_code=code_list:" + '{"values": [' + ", ".join(f'"{code:02d}"' for code in range(1, 57)) + "]}",
)  # fmt: skip


def create(table: str, words: dict[str, str] | None = None) -> str:
    """`CREATE TABLE` with the primary key `id`; `words` are those of the engine where they differ from PostgreSQL's."""
    columns = ", ".join(f"{name} {(words or {}).get(type_, type_)}" for name, type_, _ in COLUMNS)
    return f"CREATE TABLE {table} ({columns}, PRIMARY KEY (id))"


def fill(table: str, rows: int, columns: str = "") -> str:
    """`INSERT` of the rows 1 to `rows`, in PostgreSQL. `columns` replaces the list of expressions."""
    expressions = columns or ", ".join(expression for *_, expression in COLUMNS)
    return (
        f"INSERT INTO {table} SELECT {expressions} FROM (SELECT i, birth, '620302' || to_char(birth, 'YYYYMMDD')"
        f" || lpad((i % 1000)::text, 3, '0') AS n17 FROM (SELECT i, date '1930-01-01' + i % 34000 AS birth"
        f" FROM generate_series(1, {rows}) AS i) AS numbered) AS made"
    )

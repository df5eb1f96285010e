"""One table of a million made-up people, the same in SQLite and in PostgreSQL, and the world of a gateway that serves it."""

import json
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.httpsig import HmacSigner, sign_request
from tests.dataplane.gateway import world as worlds
from tests.servers import Server

ITEMS = ["sfzh", "xm", "hyzk", "djrq"]
COLUMNS = "id_no, name, phone, status, registered_on, amount, number, area, note"


def identity(number: int) -> str:
    """Of the form of an identity number; region 620302, as the row filter of the grant wants it."""
    return f"62030219{number:010d}"


def sqlite_table(path: Path, rows: int) -> Connection:
    """Adds the people to the table that the tests' world makes."""
    connection = worlds.make_table(path)
    with sqlite3.connect(path) as db:
        db.executemany(
            f"INSERT INTO person ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (identity(n), f"甲乙{n}", "13800000000", "married", "2015-06-01", "1.00", n, "620302", "not granted")
                for n in range(rows)
            ),
        )
        db.execute("ANALYZE")
    db.close()
    return connection


def postgresql_table(server: Server, rows: int) -> Connection:
    server.execute(
        "DROP TABLE IF EXISTS person, application, audit",
        "CREATE TABLE person (id_no char(18) PRIMARY KEY, name text, phone text, status text, registered_on date,"
        " amount numeric(10,2), number integer, area text, note text)",
        f"INSERT INTO person ({COLUMNS}) SELECT '62030219' || lpad(n::text, 10, '0'), '甲乙' || n, '13800000000', 'married',"
        f" '2015-06-01', 1, n, '620302', 'not granted' FROM generate_series(0, {rows - 1}) AS n",
        # what the stacks written by hand keep: who may call, and a row for each answer
        "CREATE TABLE application (id serial PRIMARY KEY, token_digest text UNIQUE, name text)",
        "INSERT INTO application (token_digest, name) SELECT encode(sha256(('token-' || n)::bytea), 'hex'), 'application ' || n"
        " FROM generate_series(1, 500) AS n",
        "CREATE TABLE audit (id bigserial PRIMARY KEY, application_id int, asked text, purpose text, rows int, at timestamptz"
        " DEFAULT now())",
        "VACUUM ANALYZE person",
        "ANALYZE application",
    )
    return server.connection()


def make_world(folder: Path, connection: Connection, suite: str) -> worlds.World:
    """A gateway's home with one service over the table; nothing limits how often it is called."""
    folder.mkdir(parents=True)
    world = worlds.make_world(folder, suite=suite, connection=replace(connection, sealed_password=""))
    world.services = tuple(
        replace(service, connection=_sealed(world, connection), calls_per_minute=10**9) for service in world.services
    )
    world.publish()
    return world


def _sealed(world: worlds.World, connection: Connection) -> Connection:
    if connection.engine is Engine.SQLITE or not connection.options.get("password"):
        return connection
    options = {name: value for name, value in connection.options.items() if name != "password"}
    return replace(
        connection, sealed_password=world.gateway.seal(connection.options["password"].encode()), options=options
    )


def signed_calls(world: worlds.World, count: int, rows: int, *, seed: int = 20260318) -> list[bytes]:
    """Whole requests as bytes, each signed with a nonce of its own and for a person of its own."""
    signer = HmacSigner(world.algorithm, worlds.SECRET.encode())
    path = f"/gateway/v1/services/{worlds.SERVICE}/query"
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        body = json.dumps(worlds.question(by={"sfzh": identity(chance.randrange(rows))}, items=ITEMS)).encode()
        headers = {"Content-Type": "application/json"}
        headers |= sign_request(
            "POST", f"http://{worlds.HOST}{path}", body, key_id="key-housing", signer=signer, headers=headers
        )
        lines = [f"POST {path} HTTP/1.1", f"host: {worlds.HOST}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        made.append("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return made


def plain_calls(path: str, count: int, rows: int, *, seed: int = 20260318) -> list[bytes]:
    """GET requests of the stacks that sign nothing; `{}` in the path is the person's number."""
    chance = random.Random(seed)
    return [
        (
            f"GET {path.format(identity(chance.randrange(rows)))} HTTP/1.1\r\nhost: {worlds.HOST}\r\n"
            "authorization: Bearer token-7\r\nx-purpose: housing\r\n\r\n"
        ).encode()
        for _ in range(count)
    ]

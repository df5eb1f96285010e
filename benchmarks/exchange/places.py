"""Servers with the settings of a benchmark: durable, with room, and quiet but for what is measured."""

import compileall
import json
import os
import signal
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinqiao
from benchmarks.exchange import measuring
from benchmarks.exchange.measuring import Measured
from tests import servers
from tests.servers import Server

POSTGRESQL = (
    "fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=8GB",
    "checkpoint_timeout=30min", "max_connections=60", "autovacuum=off",
)  # fmt: skip
MARIADB = ("innodb-flush-log-at-trx-commit=1", "innodb-buffer-pool-size=512M", "innodb-log-file-size=1G")
SOURCE, TARGET = "city", "target"
JINQIAO = str(Path(sys.executable).with_name("jinqiao"))


def stop_when_told() -> None:
    """SIGTERM ends this process as Ctrl-C does: with its servers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def compile_code() -> None:
    """As an installation does: a checkout in which Python may not write compiles every module at every start, for 0.1 s."""
    for folder in jinqiao.__path__:
        compileall.compile_dir(folder, quiet=1)


@contextmanager
def postgresql() -> Iterator[Server]:
    """One server with two databases, `city` and `target`; the code is compiled."""
    compile_code()
    with servers.postgresql(settings=POSTGRESQL) as server:
        server.execute(f"CREATE DATABASE {TARGET}")
        yield server


@contextmanager
def mariadb() -> Iterator[Server]:
    with servers.mariadb(settings=MARIADB) as server:
        server.execute(f"CREATE DATABASE {TARGET} CHARACTER SET utf8mb4")
        yield server


def url(server: Server, database: str, *, scheme: str = "", options: str = "") -> str:
    """Address with the password in it, as every tool understands it."""
    scheme = scheme or server.url.partition(":")[0]
    return f"{scheme}://{server.user}:{quote(server.password)}@{server.host}:{server.port}/{database}{options}"


def psql(server: Server, database: str) -> str:
    """`psql` as a shell calls it; the password goes by `environment`."""
    return f"psql -h {server.host} -p {server.port} -U {server.user} -qX -v ON_ERROR_STOP=1 -d {database}"


def client(server: Server, database: str) -> str:
    """`mariadb` as a shell calls it; the password goes by `environment`."""
    return f"mariadb -h {server.host} -P {server.port} -u {server.user} --local-infile=1 --default-character-set=utf8mb4 {database}"


def environment(*given: Server) -> dict[str, str]:
    """The variables of a shell in which the clients of these servers find their passwords."""
    passwords = {"postgresql": "PGPASSWORD", "mysql": "MYSQL_PWD"}
    return {**os.environ, **{passwords[server.engine.value]: server.password for server in given}}


def shell(command: str, *given: Server) -> Measured:
    """A pipe as a user would write it. Raises CommandFailed where any part of it fails."""
    return measuring.run(["bash", "-c", f"set -o pipefail; {command}"], env=environment(*given))


def copy(source: str, target: str, spool: Path, *options: str, table: str = "population") -> Measured:
    """A whole `jinqiao copy` process. Raises CommandFailed."""
    return measuring.run([JINQIAO, "copy", source, target, "--table", table, "--spool", str(spool), "--json", *options])


def told(copied: Measured) -> dict[str, Any]:
    """The JSON of a copy."""
    return dict(json.loads(copied.output.splitlines()[-1]))


def stages(results: Sequence[dict[str, Any]]) -> str:
    """Medians of the engine's own seconds by stage."""
    names = list(results[0]["seconds"])
    return ", ".join(
        f"{name} {statistics.median(result['seconds'].get(name, 0) for result in results):.2f}" for name in names
    )

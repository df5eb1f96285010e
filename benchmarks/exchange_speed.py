"""How fast the exchange engine moves a table, beside the limit and beside other tools, in one run.

    python -m benchmarks.exchange_speed [--rows 1000000] [--rounds 5] [--only limit,ours,peers,engines] [--report FILE]
                                        [--keep FILE [--minutes M]]

A population register of 23 columns goes from one PostgreSQL database to another. The limit is `psql COPY binary | psql COPY
binary` into a table with the same primary key; ours are whole `jinqiao copy` processes, from the start of the interpreter to
its end, staged and encrypted, verified, counted and in the ledger. Every round runs every case once, in their order, after a
checkpoint; medians are given. `engines` is a second table: MariaDB and SQLite beside the pipe that a user would write. Memory
is that of the process with all that it starts, without the servers. Without `peers` nothing has to be installed.

With `--keep` each measurement is written to a file at once, and the tables are made of all that the file holds of the same
code, rows and machine: the benchmark can be done in pieces, by calling it again, and ended by the clock or by hand.

Exits 1 where a case failed or brought other contents, 2 where a goal is missed.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.exchange import measuring, peers, places, population, report
from benchmarks.exchange.measuring import Measured
from benchmarks.exchange.series import Case, Kept, Outcome, Series, tables
from tests.servers import Server

LIMIT = "limit: `psql COPY` into `psql COPY`"


# -- from PostgreSQL to PostgreSQL


class Register:
    """The register in `city`, and the states of `target` that the cases begin with."""

    def __init__(self, server: Server, rows: int, folder: Path) -> None:
        self.server, self.rows, self.folder = server, rows, folder
        server.execute(
            population.create("population"), population.fill("population", rows), "VACUUM ANALYZE population"
        )
        self.expected = self.sums("population", places.SOURCE)
        self.source, self.target = (places.url(server, name) for name in (places.SOURCE, places.TARGET))

    def sums(self, table: str, database: str = places.TARGET) -> Outcome:
        ((rows, income),) = self.server.fetch(f"SELECT count(*), sum(income::numeric)::text FROM {table}", database)
        return int(rows), str(income)

    def empty(self, *, with_table: bool) -> None:
        """Nothing of an earlier run; the table of the register, empty, where it is not the tool that makes it."""
        self.server.execute("DROP SCHEMA IF EXISTS by_dlt CASCADE", *self._drops(), database=places.TARGET)
        if with_table:
            self.server.execute(population.create("population"), database=places.TARGET)
        self._settle()

    def held(self, changed_share: int = 0) -> None:
        """The target holds every row, one in `changed_share` with another phone number (0: none)."""
        if not self.server.fetch("SELECT to_regclass('held') IS NOT NULL", places.TARGET)[0][0]:
            self.server.execute(population.create("held"), database=places.TARGET)
            pipe = "-c 'COPY population TO STDOUT (FORMAT binary)'", "-c 'COPY held FROM STDIN (FORMAT binary)'"
            places.shell(
                f"{places.psql(self.server, places.SOURCE)} {pipe[0]} | {places.psql(self.server, places.TARGET)} {pipe[1]}",
                self.server,
            )
        phone = f"CASE WHEN id % {changed_share} = 0 THEN '0935' || id ELSE phone END" if changed_share else "phone"
        columns = ", ".join(phone if name == "phone" else name for name in population.NAMES)
        self.server.execute(
            *self._drops(),
            population.create("population"),
            f"INSERT INTO population SELECT {columns} FROM held",
            "VACUUM ANALYZE population",
            database=places.TARGET,
        )
        self._settle()

    def _drops(self) -> list[str]:
        """Whatever tools leave behind, but for what is held."""
        found = self.server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", places.TARGET)
        return [f'DROP TABLE IF EXISTS public."{name}"' for (name,) in found if name != "held"]

    def _settle(self) -> None:
        self.server.execute("CHECKPOINT")
        shutil.rmtree(self.folder / "spool", ignore_errors=True)

    # -- cases

    def limit(self) -> Case:
        command = (
            f"{places.psql(self.server, places.SOURCE)} -c 'COPY population TO STDOUT (FORMAT binary)'"
            f" | {places.psql(self.server, places.TARGET)} -c 'COPY population FROM STDIN (FORMAT binary)'"
        )
        return Case(
            LIMIT,
            lambda: places.shell(command, self.server),
            lambda: self.empty(with_table=True),
            lambda: self.sums("population"),
        )

    def ours(self) -> list[Case]:
        return [
            self._copy("guarded, new table", 1.5),
            self._copy("guarded, empty table that is there", None, prepare=lambda: self.empty(with_table=True)),
            self._copy("with masks and five checks", 2.0, *population.MASKS_AND_CHECKS, set_aside=self.rows // 1000),
            self._copy("with `--reconcile content`", 2.5, "--reconcile", "content"),
            self._copy("upsert, all rows there and unchanged", 3.0, "--delivery", "upsert", prepare=self.held),
            self._copy("upsert, 10 % changed", 3.0, "--delivery", "upsert", prepare=lambda: self.held(10)),
            self._copy("mirror, all rows there and unchanged", None, prepare=self.held),
            self._copy("guarded, suite guomi", None, "--suite", "guomi"),
        ]

    def _copy(
        self,
        name: str,
        goal: float | None,
        *options: str,
        prepare: Callable[[], None] | None = None,
        set_aside: int = 0,
    ) -> Case:
        return Case(
            f"jinqiao copy: {name}",
            lambda: places.copy(self.source, self.target, self.folder / "spool", *options),
            prepare or (lambda: self.empty(with_table=False)),
            lambda: self.sums("population"),
            goal,
            is_ours=True,
            set_aside=set_aside,
            base=LIMIT,
        )

    def others(self) -> list[Case]:
        return [
            Case(
                peer.name,
                lambda peer=peer: measuring.run(peer.command, env=peer.env),  # type: ignore[misc]
                lambda peer=peer: self.empty(with_table=not peer.makes_table),  # type: ignore[misc]
                lambda peer=peer: self.sums(peer.lands_in),  # type: ignore[misc]
                base=LIMIT,
            )
            for peer in peers.peers(self.server, self.folder)
        ]


# -- other engines


class Mixed:
    """The register in PostgreSQL, MariaDB and a file of SQLite; each way beside a pipe of the engines' own clients."""

    def __init__(self, register: Register, mariadb: Server) -> None:
        self.register, self.mariadb, self.file = register, mariadb, register.folder / "register.db"
        self.landing = register.folder / "landing.db"
        mariadb.execute(population.create("population", population.MARIADB))
        self._pipe_to_mariadb(places.SOURCE)
        mariadb.execute("ANALYZE TABLE population")
        self._pipe_to_sqlite(self.file)

    def cases(self) -> list[Case]:
        """Pairs: the pipe, then ours."""
        city = places.url(self.register.server, places.SOURCE)
        landed = places.url(self.register.server, places.TARGET)
        maria = places.url(self.mariadb, places.TARGET)
        ways: tuple[tuple[str, str, str, Callable[[], Measured], Callable[[bool], None], Callable[[], Outcome]], ...] = (
            ("PostgreSQL → MariaDB", city, maria, lambda: self._pipe_to_mariadb(places.TARGET), self._empty_mariadb, self._in_mariadb),
            ("MariaDB → PostgreSQL", places.url(self.mariadb, places.SOURCE), landed, self._pipe_from_mariadb, self._empty, self._in_postgresql),
            ("PostgreSQL → SQLite", city, f"sqlite:///{self.landing}", lambda: self._pipe_to_sqlite(self.landing), self._empty_sqlite, self._in_sqlite),
            ("SQLite → PostgreSQL", f"sqlite:///{self.file}", landed, self._pipe_from_sqlite, self._empty, self._in_postgresql),
        )  # fmt: skip
        cases = []
        for name, source, target, pipe, empty, arrived in ways:
            cases.append(Case(f"{name}: pipe", pipe, lambda empty=empty: empty(True), arrived))  # type: ignore[misc]
            cases.append(
                Case(
                    f"{name}: jinqiao copy",
                    lambda source=source, target=target: places.copy(source, target, self.register.folder / "spool"),  # type: ignore[misc]
                    lambda empty=empty: empty(False),  # type: ignore[misc]
                    arrived,
                    is_ours=True,
                    base=f"{name}: pipe",
                )
            )
        return cases

    def _empty(self, with_table: bool) -> None:
        self.register.empty(with_table=with_table)

    def _empty_mariadb(self, with_table: bool) -> None:
        found = self.mariadb.fetch("SHOW TABLES", places.TARGET)
        made = [population.create("population", population.MARIADB)] if with_table else []
        self.mariadb.execute(*(f"DROP TABLE `{name}`" for (name,) in found), *made, database=places.TARGET)
        self.register._settle()

    def _empty_sqlite(self, with_table: bool) -> None:
        self.landing.unlink(missing_ok=True)
        self.register._settle()

    def _in_postgresql(self) -> Outcome:
        return self.register.sums("population")

    def _in_mariadb(self) -> Outcome:
        ((rows, income),) = self.mariadb.fetch("SELECT count(*), sum(income) FROM population", places.TARGET)
        return int(rows), str(income)

    def _in_sqlite(self) -> Outcome:
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.landing)) as connection:
            rows, cents = connection.execute(
                "SELECT count(*), sum(CAST(round(income * 100) AS INTEGER)) FROM population"
            ).fetchone()
        return int(rows), f"{cents // 100}.{cents % 100:02d}"

    def _pipe_to_mariadb(self, database: str) -> Measured:
        columns = ", ".join(f"{name}::int" if name == "is_resident" else name for name in population.NAMES)
        return places.shell(
            f"{places.psql(self.register.server, places.SOURCE)} -c 'COPY (SELECT {columns} FROM population) TO STDOUT'"
            f" | {places.client(self.mariadb, database)} -e \"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE population\"",
            self.register.server,
            self.mariadb,
        )

    def _pipe_from_mariadb(self) -> Measured:
        return places.shell(
            f"{places.client(self.mariadb, places.SOURCE)} --quick --batch --skip-column-names -e 'SELECT * FROM population'"
            f" | {places.psql(self.register.server, places.TARGET)} -c \"COPY population FROM STDIN WITH (NULL 'NULL')\"",
            self.register.server,
            self.mariadb,
        )

    def _pipe_to_sqlite(self, file: Path) -> Measured:
        return places.shell(
            f"sqlite3 {file} '{population.create('population', population.SQLITE)}' && "
            f"{places.psql(self.register.server, places.SOURCE)} -c 'COPY population TO STDOUT (FORMAT csv)'"
            f" | sqlite3 {file} '.import --csv /dev/stdin population'",
            self.register.server,
        )

    def _pipe_from_sqlite(self) -> Measured:
        return places.shell(
            f"sqlite3 -csv {self.file} 'SELECT * FROM population'"
            f" | {places.psql(self.register.server, places.TARGET)} -c 'COPY population FROM STDIN (FORMAT csv)'",
            self.register.server,
        )


def series(
    given: argparse.Namespace, register: Register, opened: contextlib.ExitStack
) -> tuple[list[Series], list[Server]]:
    """What is to be measured, and the servers that it is measured on."""
    only, made, on = set(given.only.split(",")), [], [register.server]
    if only & {"limit", "ours", "peers"}:
        cases = [register.limit()]
        cases += register.ours() if "ours" in only else []
        cases += register.others() if "peers" in only else []
        made.append(Series("PostgreSQL → PostgreSQL", cases, register.expected))
    if "engines" in only:
        on.append(opened.enter_context(places.mariadb()))
        made.append(Series("Other engines", Mixed(register, on[-1]).cases(), register.expected, "× the pipe"))
    return made, on


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="limit,ours,peers,engines", help="limit,ours,peers,engines")
    parser.add_argument("--report", type=Path, help="file for the tables in Markdown; they are printed in any case")
    parser.add_argument("--keep", type=Path, help="file of measurements, to go on with later")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no case is begun after so many")
    given = parser.parse_args(argv)
    ends_at = time.monotonic() + given.minutes * 60
    places.stop_when_told()
    folder = Path(tempfile.mkdtemp(prefix="jq-speed-"))
    kept, stopped = Kept(None, report.revision(), "", given.rows), 0
    try:
        with contextlib.ExitStack() as opened:
            register = Register(opened.enter_context(places.postgresql()), given.rows, folder)
            made, on = series(given, register, opened)
            kept = Kept(given.keep, report.revision(), report.hardware(on[0]), given.rows)
            about = report.load()
            for one in made:
                one.measure(given.rounds, kept, ends_at)
    except (SystemExit, KeyboardInterrupt) as ended:  # what was measured until then is shown
        stopped = int(ended.code or 0) if isinstance(ended, SystemExit) and isinstance(ended.code, int) else 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not kept.lines:
        return stopped or 1
    found = tables(kept)
    how = f"{given.rows:,} rows × {len(population.COLUMNS)} columns, medians, each case once a round"
    text = [
        f"{how}; {kept.machine}; {about}; code {kept.code}.",
        f"PostgreSQL: {', '.join(places.POSTGRESQL)}; MariaDB: {', '.join(places.MARIADB)}.",
    ]
    for table in found:
        text += [f"### {table.title}", table.shown(), "\n".join(table.details())]
    words = "\n\n".join(text) + "\n"
    print(words)
    if given.report:
        given.report.write_text(words, encoding="utf-8")
    if stopped or any(table.failed() for table in found):
        return stopped or 1
    return 2 if any(table.missed() for table in found) else 0


if __name__ == "__main__":
    sys.exit(main())

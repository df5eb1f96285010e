"""Accounts between which writers move money all the time: whoever reads them at one instant finds the same total.

    with moving(bank): copy; the total of the copy is `bank.total`, whatever was moved meanwhile

`copied_without_snapshot` is the control: ranges of accounts, each read when its turn comes, as tools copy in parallel that
share no snapshot.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers import Server

EACH = 1000


@dataclass
class Bank:
    """A table of `accounts` rows on a server; `moves` counts what writers have committed."""

    server: Server
    table: str
    accounts: int
    database: str = ""
    moves: int = 0
    problems: list[BaseException] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.accounts * EACH

    @property
    def is_postgresql(self) -> bool:
        return self.server.engine.value == "postgresql"

    def open(self) -> None:
        """Rows with some width, so that they fill many blocks."""
        wide = "repeat('x', 100)"
        series = f"SELECT seq AS i FROM seq_1_to_{self.accounts}"
        numbers = f"generate_series(1, {self.accounts}) AS i" if self.is_postgresql else f"({series}) AS numbers"
        self.server.execute(
            f"DROP TABLE IF EXISTS {self.table}",
            f"CREATE TABLE {self.table} (id bigint PRIMARY KEY, balance bigint NOT NULL, note varchar(200))",
            f"INSERT INTO {self.table} SELECT i, {EACH}, {wide} FROM {numbers}",
            f"ANALYZE {'' if self.is_postgresql else 'TABLE '}{self.table}",
            database=self.database or None,
        )

    def sums(self) -> tuple[int, int]:
        """Accounts and their total, as one statement sees them."""
        ((count, total),) = self.server.fetch(
            f"SELECT count(*), coalesce(sum(balance), 0) FROM {self.table}", self.database or None
        )
        return int(count), int(total)

    def move(self, connection: Any, chance: random.Random) -> None:
        """Money from the first half of the accounts to the second or back, in one transaction."""
        half = self.accounts // 2
        low, high = chance.randint(1, half), chance.randint(half + 1, self.accounts)
        amount = chance.choice([-1, 1]) * chance.randint(1, EACH)
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"UPDATE {self.table} SET balance = balance - {amount} WHERE id = {low}")
            cursor.execute(f"UPDATE {self.table} SET balance = balance + {amount} WHERE id = {high}")
            cursor.execute("COMMIT")
        self.moves += 1

    def copied_without_snapshot(self, ranges: int = 4, readers: int = 2) -> int:
        """The total of accounts read range by range in parallel, each range by a statement of its own."""
        size = -(-self.accounts // ranges)

        def read(number: int) -> int:
            with closing(self.server.connect(self.database or None)) as connection, connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT sum(balance) FROM {self.table} WHERE id > {number * size} AND id <= {(number + 1) * size}"
                )
                return int(cursor.fetchone()[0])

        with ThreadPoolExecutor(readers) as pool:
            return sum(pool.map(read, range(ranges)))


@contextmanager
def moving(bank: Bank, writers: int = 2) -> Iterator[Bank]:
    """Writers at work as long as the `with`, from the first money moved on. What one of them raised is raised at its end."""
    ended, began = threading.Event(), threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with closing(bank.server.connect(bank.database or None)) as connection:
                while not ended.is_set():
                    bank.move(connection, chance)
                    began.set()
        except BaseException as problem:  # noqa: BLE001 -- raised again by who waits for this thread
            bank.problems.append(problem)
            began.set()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    try:
        began.wait(30)
        yield bank
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if bank.problems:
        raise bank.problems[0]


def differs_without_snapshot(bank: Bank, tries: int = 200) -> int:
    """How many copies without a snapshot it took until one had another total; 0 where none had."""
    for number in range(1, tries + 1):
        if bank.copied_without_snapshot() != bank.total:
            return number
    return 0

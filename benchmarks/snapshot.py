"""One instant: while writers move money between accounts, whole `jinqiao copy` processes copy them, and the total never differs.

    python -m benchmarks.snapshot [--accounts 500000] [--copies 20] [--writers 4]

From PostgreSQL (two readers on one exported snapshot) and from MariaDB. The control reads the same accounts range by range, in
parallel, without a shared snapshot: its totals are counted beside. Exits 1 where a copied total differs, 2 where the control
never showed another one.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.exchange import places, report
from tests import servers
from tests.dataplane.pipeline.accounts import Bank, moving


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=500_000)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--writers", type=int, default=4)
    given = parser.parse_args(argv)
    places.stop_when_told()
    folder, rows, wrong, control = Path(tempfile.mkdtemp(prefix="jq-snapshot-")), list[tuple[object, ...]](), 0, 0
    try:
        with servers.postgresql() as city, servers.postgresql() as landing, servers.mariadb() as maria:
            landed = Bank(landing, "accounts", given.accounts)
            for server in (city, maria):
                bank = Bank(server, "accounts", given.accounts)
                bank.open()
                differing, without, told = 0, 0, {}
                with moving(bank, given.writers):
                    for _ in range(given.copies):
                        chunk_rows = max(1000, given.accounts // 20)
                        copied = places.copy(
                            server.url,
                            landing.url,
                            folder / server.engine.value,
                            "--chunk-rows",
                            str(chunk_rows),
                            table="accounts",
                        )
                        told = places.told(copied)
                        differing += landed.sums() != (given.accounts, bank.total)
                        without += bank.copied_without_snapshot() != bank.total
                rows.append(
                    (server.engine.value, told["snapshot"], told["readers"], f"{bank.moves:,}", given.copies, differing, without)
                )  # fmt: skip
                wrong, control = wrong + differing, control + without
            about = report.machine(city, maria)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    head = (
        "source",
        "consistent by",
        "readers",
        "moves meanwhile",
        "copies",
        "with another total",
        "without a snapshot",
    )
    print(f"{given.accounts:,} accounts, {given.writers} writers; {about}.\n\n{report.table(head, rows)}\n")
    if wrong:
        return 1
    return 0 if control else 2


if __name__ == "__main__":
    sys.exit(main())

"""The copier that everyone writes first: read, insert, commit every batch, note the place now and then. No ledger, no staging.

    python naive.py SOURCE TARGET TABLE PLACE_FILE

It is the control of the campaigns: killed as ours are, it must double or lose rows, otherwise they would prove nothing.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg

BATCH_ROWS, NOTED_EVERY = 500, 8
PAUSE_S = 0.03  # a small table lasts as long as a larger one


def main(source: str, target: str, table: str, place: Path) -> None:
    done = int(place.read_text()) if place.exists() else 0
    with psycopg.connect(source) as reading, psycopg.connect(target) as writing:
        if not done:
            writing.execute(f"DROP TABLE IF EXISTS {table}")
            writing.execute(
                f"CREATE TABLE {table} (id bigint, name text, region text, amount numeric(12, 2), born date, updated timestamp)"
            )
        cursor = reading.cursor(name="reading")
        cursor.execute(f"SELECT * FROM {table} WHERE id > %s ORDER BY id", (done,))
        for number, rows in enumerate(_batches(cursor), 1):
            with writing.cursor() as written:
                written.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, %s)", rows)
            writing.commit()
            time.sleep(PAUSE_S)
            if number % NOTED_EVERY == 0:
                place.write_text(str(rows[-1][0]))
    place.unlink(missing_ok=True)
    print(json.dumps({"reconciled": True}))  # noqa: T201 -- its parent reads it


def _batches(cursor: "psycopg.ServerCursor[tuple[Any, ...]]") -> Iterable[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(BATCH_ROWS):
        yield rows


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))

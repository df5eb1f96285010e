"""A table copied by pandas: `python pandas_copy.py SOURCE TARGET TABLE`. Runs in the environment of requirements/bench.txt."""

import sys

import pandas
import sqlalchemy

source, target, table = sys.argv[1:]
written = sqlalchemy.create_engine(target)
with sqlalchemy.create_engine(source).connect().execution_options(stream_results=True) as reading:
    for frame in pandas.read_sql(f"SELECT * FROM {table}", reading, chunksize=50_000):
        frame.to_sql(table, written, if_exists="append", index=False)

"""A table copied by dlt: `python dlt_copy.py SOURCE TARGET TABLE FOLDER`. Runs in the environment of requirements/bench.txt."""

import sys

import dlt
from dlt.sources.sql_database import sql_table

source, target, table, folder = sys.argv[1:]
rows = sql_table(
    credentials=source, table=table, backend="pyarrow", chunk_size=100_000, reflection_level="full_with_precision"
)
pipeline = dlt.pipeline(
    "benchmark", pipelines_dir=folder, destination=dlt.destinations.postgres(target), dataset_name="by_dlt"
)
pipeline.run(rows, table_name=table, write_disposition="replace").raise_on_failed_jobs()

"""A process that extracts and delivers one order and may be killed at any instant: `python mover.py FOLDER`."""

import json
import sys
from pathlib import Path

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import ExchangeOrder
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.identity import Identity


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    order = ExchangeOrder.from_json(task["order"])
    spool = Spool(folder / "spool")
    with open_source(Connection.from_json(task["source"]), task["source_password"]) as source:
        manifest = pipeline.extract(order, source, spool=spool)
    for chunk in manifest.chunks:
        if not spool.incoming(order.run_id).has_chunk(chunk.number):
            data = spool.outgoing(order.run_id).read_chunk(chunk.number)
            spool.incoming(order.run_id).write_chunk(chunk.number, data)
    with open_target(Connection.from_json(task["target"]), task["target_password"]) as target:
        counts = pipeline.deliver(order, manifest, target, spool=spool, identity=Identity.from_json(task["identity"]))
    print(json.dumps(counts.to_json()))  # noqa: T201 -- its parent reads it


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A gateway as a process of its own, with the policy that the control plane of a test has compiled."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from jinqiao.dataplane.gateway import home as homes
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.models import DataSource
from jinqiao.kernel.keystore import KeyStore, write_durably
from jinqiao.kernel.ports import free_port
from tests.exchange.factories import Served

PERSON = "620302199001010015"
SERVE = Path(__file__).parent.parent / "dataplane" / "gateway" / "serve.py"
WITHIN_S = 60.0


def place_source(served: Served, folder: Path) -> None:
    """The provider's table as a SQLite file with one person in it."""
    database = folder / "civil-affairs.db"
    with sqlite3.connect(database) as db:
        db.execute(
            "CREATE TABLE marriage (id INTEGER PRIMARY KEY, name TEXT, id_card TEXT, reg_date DATE, amount DECIMAL(12,2),"
            " valid BOOLEAN, area TEXT, updated_at DATETIME, photo BLOB)"
        )
        db.execute("INSERT INTO marriage VALUES (1, '安小雅', ?, '2015-06-01', 1, 1, '620302', NULL, NULL)", (PERSON,))
    db.close()
    DataSource.objects.update(
        engine="sqlite", host="", database=str(database), user="", sealed_password="", gateway_sealed_password=""
    )
    served.world.source.refresh_from_db()


def write_policy(served: Served, home: Path) -> None:
    """Put what is compiled now on the gateway's disk, as if it had been pulled. Read when the gateway starts."""
    from jinqiao.exchange import actions

    message = actions.policy_for(served.gateway.node, 0)
    assert message is not None
    write_durably(homes.load(home).policy_file, message.canonical())


@contextmanager
def gateway_of(served: Served, folder: Path) -> Iterator[str]:
    """The root address of a running gateway for what `served` holds. The platform is away: its policy is on disk."""
    place_source(served, folder)
    home = folder / "gateway"
    home.mkdir()
    KeyStore(home).put("identity", json.dumps(served.gateway.identity.to_json()).encode())
    homes.prepare(home, "http://127.0.0.1:9", served.gateway.node.number, platform_identity().public)
    write_policy(served, home)
    port = free_port()
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVE), str(home), str(port)], stdout=log, stderr=log, env={**os.environ}
        )
        try:
            root = f"http://127.0.0.1:{port}"
            _wait(root, process)
            yield root
        finally:
            process.terminate()
            process.wait(20)


def _wait(root: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + WITHIN_S
    while True:
        assert process.poll() is None, "the gateway ended"
        assert time.monotonic() < until, "the gateway does not come up"
        try:
            if httpx.get(f"{root}/gateway/health/live", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)

"""Rows that a run set aside, for the provider's people: as a workbook, and corrected rows on their way back.

The rows never leave the provider's node readable: a workbook for the platform's page is sealed to the platform, a corrected one
comes sealed to this node.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from jinqiao.dataplane.checks.corrections import corrected_rows
from jinqiao.dataplane.checks.quarantine import sealed_for
from jinqiao.dataplane.checks.workbooks import quarantine_workbook
from jinqiao.dataplane.node.errors import HomeCarried, QuarantineMissing
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.kernel.contracts.exchange import Command, ExchangeOrder, NodeResubmission
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import Language

RESUBMIT_PATH = "/api/nodes/resubmit"


def sealed_rows(spool: Spool, run_id: str) -> bytes:
    """The quarantine file of a run. Raises QuarantineMissing."""
    data = spool.outgoing(run_id).quarantine()
    if data is None:
        raise QuarantineMissing(run=run_id)
    return data


def identity_of(sealed: bytes, home: NodeHome) -> Identity:
    """The identity of this node that a quarantine was sealed to, also one of before a rotation. Raises ChunkDamaged."""
    return home.keys.named(sealed_for(sealed)) or home.identity


def workbook(home: NodeHome, spool: Spool, order: ExchangeOrder, language: Language = "zh") -> bytes:
    """What the run of the order set aside, as .xlsx. Raises QuarantineMissing, ChunkDamaged, SealBroken."""
    sealed = sealed_rows(spool, order.run_id)
    return quarantine_workbook(sealed, identity_of(sealed, home), order.grant.items, language)


def order_of_run(home: NodeHome, run_id: str) -> ExchangeOrder:
    """The order by which this node extracted a run; readable beside a running process. Raises QuarantineMissing."""
    try:
        with closing(sqlite3.connect(f"{home.ledger_file.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            row = ledger.execute(
                "SELECT body FROM command WHERE run_id = ? AND kind IN ('extract', 'resubmit') AND body IS NOT NULL"
                " ORDER BY seq DESC LIMIT 1",
                (run_id,),
            ).fetchone()
    except sqlite3.Error as problem:
        raise QuarantineMissing(run=run_id) from problem
    order = Command.from_json(json.loads(row[0])).order if row else None
    if order is None:
        raise QuarantineMissing(run=run_id)
    return order


def resubmit(home: NodeHome, run_id: str, file: Path) -> str:
    """Check a corrected workbook here, seal it to this node, and ask the platform for a run of it; the run's number.

    Raises QuarantineMissing, CorrectionsRefused naming cells, HomeCarried, PlatformAway, PlatformRefused.
    """
    if home.is_carried:
        raise HomeCarried(home=home.path.name)
    order = order_of_run(home, run_id)
    sealed = sealed_rows(home.spool, run_id)
    corrected = file.read_bytes()
    corrected_rows(corrected, order, sealed=sealed, identity=identity_of(sealed, home))
    word = NodeResubmission(run_id=run_id, sealed_payload=home.identity.public.seal(corrected))
    with home.client() as platform:
        answer = platform.post(RESUBMIT_PATH, word)
    return str(answer["run"])

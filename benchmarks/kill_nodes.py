"""Kill either node with SIGKILL at random moments of one copy, in the whole running platform; afterwards compare contents.

    .venv/bin/python benchmarks/kill_nodes.py [--rows 1000000] [--kills 10] [--seed N]

Both nodes, the relay and the control plane are the real processes of `jinqiao up`; the supervisor starts a killed node again.
Exits 0 when the run reconciled, both sides signed, and the target holds exactly the granted content of the source.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jinqiao.demo import verify
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.ports import free_port
from jinqiao.supervisor import DEMO_DATE, Platform

NODES = ("node-minzheng", "node-renshe")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="jinqiao-kill-"))
    port = free_port()
    os.environ |= {
        "JINQIAO_HOME": str(home),
        "JINQIAO_FIXED_DATE": DEMO_DATE,
        "JINQIAO_DEMO": "1",
        "JINQIAO_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DJANGO_SETTINGS_MODULE": "jinqiao.config.settings",
    }
    platform = Platform(home, port=port, demo=True)
    platform.prepare(build=False)
    import django

    django.setup()
    walk = verify.Walk(home, platform, chosen.rows)
    try:
        for step in (
            verify.found_city,
            verify.start_platform,
            verify.import_workbook,
            verify.publish,
            verify.request,
            verify.approve,
            verify.grant,
            verify.reach_and_bind,
        ):
            step(walk)
        return _campaign(walk, chosen.kills, random.Random(chosen.seed), chosen.seed)
    finally:
        platform.stop()
        shutil.rmtree(home, ignore_errors=True)


def _campaign(walk: verify.Walk, kills: int, chance: random.Random, seed: int) -> int:
    from jinqiao.demo import story
    from jinqiao.exchange import actions
    from jinqiao.exchange.models import Run

    task = story.set_up_task(walk.city, walk.grants["exchange"], table="mzj_hydjxx", mode=CopyMode.WATERMARK)
    run = actions.start_run(task, by=walk.city.post("renqi"))
    began, killed = time.monotonic(), []
    next_kill = began + chance.uniform(0.2, 3.0)
    while True:
        now: Any = Run.objects.get(pk=run.pk)
        for part in walk.platform.parts:
            part.look_after()
            if part.name in NODES:
                part.failures = 0  # killed from outside, not dying: come back at once
                part.next_start = 0.0
        if now.finished_at is not None:
            break
        stage = now.state
        # half of them at most while extracting: a killed extraction starts again, and would take all
        spent = sum(1 for _, _, before in killed if before == "extracting")
        if len(killed) < kills and time.monotonic() > next_kill and (stage != "extracting" or spent < kills // 2):
            # the node that works now, mostly; sometimes the one that waits
            busy = NODES[0] if stage == "extracting" else NODES[1]
            name = busy if chance.random() < 0.8 else NODES[1 - NODES.index(busy)]
            process = walk.platform.part(name).process
            if process is not None and process.poll() is None:
                process.kill()
                killed.append((round(time.monotonic() - began, 1), name, stage))
            next_kill = time.monotonic() + chance.uniform(0.3, 3.0)
        if time.monotonic() - began > 1500:
            print("the run did not end within 1500 s", file=sys.stderr)
            return 1
        time.sleep(0.05)
    for at, name, stage in killed:
        print(f"  {at:6.1f} s  SIGKILL {name} while {stage}")
    run = verify._reconciled(now)
    verify._same_content(walk)
    seconds = time.monotonic() - began
    print(
        f"seed {seed}: {len(killed)} kills, {run.rows:,} rows reconciled, contents equal, {seconds:.0f} s; counts {run.counts}"
    )
    return 0 if len(killed) == kills else 2


if __name__ == "__main__":
    sys.exit(main())

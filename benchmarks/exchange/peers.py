"""Other tools, as their manuals tell to call them, each in an environment that is made from a lock file once and kept.

The environments lie in a cache folder (JINQIAO_BENCH_CACHE, otherwise under XDG_CACHE_HOME), under a name that changes with the
lock file. The tools run without telemetry and with a home of their own; proxies are taken away, so that nothing is fetched.
"""

import hashlib
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.exchange import places
from tests.servers import Server

ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = Path(__file__).with_name("peer_scripts")
_SILENT = {
    "SLING_DISABLE_TELEMETRY": "true", "SLING_ALLOW_EMPTY": "true", "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR", "DISABLE_TELEMETRY": "true", "INGESTR_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool that copies `population`; `lands_in` names the table that it makes, `makes_table` whether it makes it."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    lands_in: str = "population"
    makes_table: bool = True


def environment(name: str) -> Path:
    """The environment of requirements/<name>.txt, made where it is not there yet. Raises CalledProcessError."""
    lock = ROOT / "requirements" / f"{name}.txt"
    cache = os.environ.get("JINQIAO_BENCH_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jinqiao-bench"
    )
    folder = Path(cache) / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "made").is_file():
        print(f"making the environment of {name} …", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--no-deps", "--requirement", str(lock)], check=True)
        (folder / "made").touch()
    return folder


def peers(server: Server, folder: Path) -> tuple[Peer, ...]:
    """The tools, for one server with the databases `city` and `target`; `folder` is their home."""
    common, ingestr = environment("bench"), environment("bench-ingestr")
    python = str(common / "bin" / "python")
    (sling,) = common.glob("lib/python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64")
    sling.chmod(0o755)
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **_SILENT}
    plain = [places.url(server, name, options="?sslmode=disable") for name in (places.SOURCE, places.TARGET)]
    driven = [places.url(server, name, scheme="postgresql+psycopg2") for name in (places.SOURCE, places.TARGET)]
    return (
        Peer(
            "sling 1.4.11",
            (str(sling), "run", "--src-conn", "FROM_CITY", "--src-stream", "public.population", "--tgt-conn", "TO_TARGET",
             "--tgt-object", "public.population", "--mode", "full-refresh"),
            {**home, "FROM_CITY": plain[0], "TO_TARGET": plain[1]},
        ),
        Peer(
            f"dlt {_version(common, 'dlt')} (pyarrow)",
            (python, str(_SCRIPTS / "dlt_copy.py"), driven[0], places.url(server, places.TARGET), "population", str(folder / "dlt")),
            home,
            "by_dlt.population",
        ),
        Peer(
            "ingestr 0.13.94",
            (str(ingestr / "bin" / "ingestr"), "ingest", "--source-uri", plain[0], "--source-table", "public.population",
             "--dest-uri", plain[1], "--dest-table", "public.population", "--yes", "--progress", "log"),
            home,
        ),
        Peer(
            f"pandas {_version(common, 'pandas')}",
            (python, str(_SCRIPTS / "pandas_copy.py"), *driven, "population"),
            home,
            makes_table=False,
        ),
    )  # fmt: skip


def _version(folder: Path, package: str) -> str:
    (found,) = folder.glob(f"lib/python*/site-packages/{package}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]

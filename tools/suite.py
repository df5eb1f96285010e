"""Every test, as ./test runs them: the whole suite on SQLite, then what touches the control database again on PostgreSQL.

Both passes run on all cores, with two workers for each: half of their time tests wait for servers, processes and deadlines.
Prints one line per pass with its time; exits with the first failing pass's code.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ON_CONTROL_DATABASE = [
    "tests/audit",
    "tests/accounts",
    "tests/workflow",
    "tests/catalogue",
    "tests/sharing",
    "tests/exchange",
    "tests/api",
    "tests/web",
    "tests/config",
    "tests/consistency/test_no_grant_no_byte.py",
    "tests/consistency/test_bad_input.py",
]
WORKERS = 2 * (os.cpu_count() or 2)


def run(title: str, arguments: list[str], **environment: str) -> int:
    began = time.monotonic()
    print(f"\n== {title}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", str(WORKERS), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    ).returncode
    print(f"== {title}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
    return code


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from tests.servers import postgresql

    first = run("SQLite", ["tests"])
    with postgresql() as server:
        second = run(
            "PostgreSQL",
            [folder for folder in ON_CONTROL_DATABASE if (ROOT / folder).exists()],
            TEST_DATABASE_URL=server.url,
        )
    return first or second


if __name__ == "__main__":
    sys.exit(main())

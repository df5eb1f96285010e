"""Writes the client of the query gateway as a wheel: `python -m tools.client_package [FOLDER]`, by default into `dist/`.

The application's page hands out the same file; this is for whoever keeps a package index of their own.
"""

import sys
from pathlib import Path

from jinqiao.client_wheel import client_wheel, closure


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else Path("dist")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = client_wheel()
    (folder / wheel.name).write_bytes(wheel.content)
    print(
        f"{folder / wheel.name}: {len(wheel.content):,} bytes, {len(closure().files)} files, needs {', '.join(closure().needs)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

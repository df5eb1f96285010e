"""How the two HTTP processes are served: granian, one worker each, on the addresses that the environment names."""

import os
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server import Server


def _serve(**options: Any) -> int:
    Server(
        workers=1, http=HTTPModes.http1, log_access=False, websockets=False, respawn_failed_workers=False, **options
    ).serve()
    return 0


def web(arguments: list[str]) -> int:
    """`jinqiao web [PORT]`: Django over WSGI, on the loopback address; the front or another proxy stands before it."""
    port = int(arguments[0]) if arguments else 8001
    return _serve(
        target="jinqiao.config.wsgi:application",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        blocking_threads=8,
    )


def front(arguments: list[str]) -> int:
    """`jinqiao front [PORT]`: the public port. JINQIAO_HOME, JINQIAO_WEB_URL and JINQIAO_HOST say what and where."""
    port = int(arguments[0]) if arguments else 8000
    return _serve(
        target="jinqiao.serving:create_front",
        factory=True,
        address=os.environ.get("JINQIAO_HOST", "127.0.0.1"),
        port=port,
        interface=Interfaces.ASGI,
    )


def create_front() -> Any:
    from jinqiao.front import create

    return create(
        Path(os.environ.get("JINQIAO_HOME", "var")).resolve(),
        os.environ.get("JINQIAO_WEB_URL", "http://127.0.0.1:8001"),
    )

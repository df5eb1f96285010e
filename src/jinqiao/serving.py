"""How the two HTTP processes are served: the front by uvicorn in this very process, the pages by granian in one worker below it."""

import asyncio
import os
import signal
from pathlib import Path

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket
from jinqiao.front import Front, create

THREADS = 4


def web(arguments: list[str]) -> int:
    """`jinqiao web [PORT]`: Django over WSGI, on the loopback address; the front or another proxy stands before it."""
    port = int(arguments[0]) if arguments else 8001
    os.environ["JINQIAO_ENDS_WITH_PARENT"] = "1"  # the worker below: see config.wsgi
    Server(
        target="jinqiao.config.wsgi:application",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        http=HTTPModes.http1,
        websockets=False,
        log_access=False,
        log_level=LogLevels.error,
    ).serve()
    return 0


def front(arguments: list[str]) -> int:
    """`jinqiao front [PORT]`: the public port. JINQIAO_HOME, JINQIAO_WEB_URL and JINQIAO_HOST say what and where."""
    home = Path(os.environ.get("JINQIAO_HOME", "var")).resolve()
    application = create(
        home,
        os.environ.get("JINQIAO_WEB_URL", "http://127.0.0.1:8001"),
        os.environ.get("JINQIAO_GATEWAY_URL", ""),
    )
    port = int(arguments[0]) if arguments else 8000
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(application, os.environ.get("JINQIAO_HOST", "127.0.0.1"), port))
    return 0


async def _serve(application: Front, host: str, port: int) -> None:
    """In one process, so that killed is killed: a gateway's home has one master."""
    await application.start()
    server = HttpServer(application, listening_socket(host, port))
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    async def end() -> None:
        await application.drain()
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: ending.add(loop.create_task(end())))
    try:
        await server.serve_calls()
    finally:
        await application.stop()

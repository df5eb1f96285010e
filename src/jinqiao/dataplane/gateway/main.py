"""Run a gateway as a process of its own, with granian in this very process: killed is killed, nothing is left behind."""

import asyncio
import logging
import signal
from pathlib import Path

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from jinqiao.dataplane.gateway.app import create_app

logger = logging.getLogger(__name__)

HEADERS_WITHIN_MS = 10_000


async def serve(home: Path, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises what `Gateway.start` raises."""
    gateway = create_app(home)
    await gateway.start()
    server = Server(
        gateway,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.warning,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    logger.info("the gateway listens on %s:%d", host, port)
    try:
        await server.serve()
    finally:
        await gateway.stop()


def run(home: Path, host: str = "127.0.0.1", port: int = 8010) -> int:
    """Run until told to stop; the exit code of the process."""
    asyncio.run(serve(home, host, port))
    return 0

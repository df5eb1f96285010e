"""The limit of the server: an answer without any work, by the server that the gateway has.   hello.py PORT"""

import asyncio
import sys

import uvloop

from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket


async def app(scope, receive, send):
    headers = [(b"content-type", b"application/json"), (b"content-length", b"17")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"hello":"world"}'})


async def main() -> None:
    await HttpServer(app, listening_socket("127.0.0.1", int(sys.argv[1]))).serve_calls()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

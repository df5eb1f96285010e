"""schemathesis over every OpenAPI document that is served: whatever fits a document, and much that does not, is sent signed to a
running server; every answer must be one that the document describes, and none a failure of the server.

    python -m benchmarks.gateway_fuzz [--minutes 10] [--only gateway|platform] [--seed 1] [--report FILE]

    gateway    the document of an application: every operation on a service with filters, roles, quotas and an announced end, in
               production and in the sandbox
    platform   the document of the machine interface, on the demo city, as its nodes and its gateway call

`--minutes` is for each document. Exits 1 where an answer is a 5xx or breaks the document; the call that did it is printed.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.exchange import report
from benchmarks.gateway import load as loads
from benchmarks.gateway.platform import platform
from jinqiao.kernel.httpsig import HmacSigner, sign_request
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway import world as worlds
from tests.dataplane.gateway.test_openapi import document_of, everything

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
AT_ONCE = 60  # examples of one operation before the next one has its turn


class Signed(AuthBase):
    """Signs each request as it is sent: the bytes of its body, the path as it stands in the address."""

    def __init__(self, world: worlds.World) -> None:
        self.signer = HmacSigner(world.algorithm, worlds.SECRET.encode())

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        content = body if isinstance(body, bytes) else str(body).encode()
        kind = request.headers.get("Content-Type")
        headers = {"Content-Type": kind if isinstance(kind, str) else kind.decode("latin-1")} if kind else {}
        with contextlib.suppress(ValueError, UnicodeError):  # what cannot be signed is sent unsigned, and refused
            request.headers.update(
                sign_request(str(request.method), str(request.url), content, key_id="key-housing", signer=self.signer, headers=headers)
            )  # fmt: skip
        return request


@contextlib.contextmanager
def gateway(world: worlds.World) -> Iterator[int]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("jinqiao")), "gateway", "run", str(world.home), "--port", str(port)]
    with (world.folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ, stderr=log, stdout=log)
    try:
        loads.wait_for(port, "/gateway/health/live", process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def fuzz(
    document: dict[str, Any],
    url: str,
    auth: AuthBase,
    minutes: float,
    first_seed: int,
    bases: Callable[[str], tuple[str, ...]] = lambda _: ("",),
) -> tuple[Counter[tuple[str, int]], list[str]]:
    """How often which operation was answered with which status, and what broke the document. `bases`: below which paths of the
    server an operation is offered."""
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    seen, broken = Counter[tuple[str, int]](), list[str]()
    until, turn = time.monotonic() + minutes * 60, first_seed
    while time.monotonic() < until and not broken:
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                for base in bases(operation.label):
                    if time.monotonic() < until:
                        one_turn(operation, mode, turn, f"{url}{base}", auth, seen, broken)
        turn += 1
    return seen, broken


PRODUCTION, SANDBOX = "/gateway/v1", "/gateway/sandbox/v1"


def gateway_bases(label: str) -> tuple[str, ...]:
    """Where an operation is offered."""
    if label.endswith("/examples"):
        return (SANDBOX,)
    return (PRODUCTION,) if label.endswith("/openapi.json") else (PRODUCTION, SANDBOX)


def one_turn(
    operation: Any,
    mode: GenerationMode,
    number: int,
    base: str,
    auth: AuthBase,
    seen: Counter[tuple[str, int]],
    broken: list[str],
) -> None:
    session = requests.Session()
    session.trust_env = False

    @seed(number)
    @settings(
        max_examples=AT_ONCE,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        try:
            response = case.call(base_url=base, auth=auth, session=session)
        except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
            return  # cannot be written as HTTP
        seen[f"{operation.label}{' (sandbox)' if base.endswith(SANDBOX) else ''}", response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    try:
        check()
    except Unsatisfiable:  # an operation that takes nothing, or anything: no call can break its document
        return
    except (Exception, FailureGroup) as problem:  # noqa: BLE001 -- whatever it was, it is what was looked for
        broken.append(f"{operation.label}, {mode.name.lower()}, seed {number}:\n{problem}")


def fuzz_gateway(minutes: float, first_seed: int) -> tuple[Counter[tuple[str, int]], list[str]]:
    with tempfile.TemporaryDirectory(prefix="jq-fuzz-") as name:
        world = everything(worlds.make_world(Path(name)))
        world.services = tuple(
            replace(one, calls_per_minute=60_000, calls_per_day=None, ends_on=None) for one in world.services
        )
        world.publish()
        document = document_of(world)
        with gateway(world) as port:
            return fuzz(document, f"http://127.0.0.1:{port}", Signed(world), minutes, first_seed, gateway_bases)


def fuzz_platform(minutes: float, first_seed: int) -> tuple[Counter[tuple[str, int]], list[str]]:
    with platform() as served:
        return fuzz(served.document, served.url, served.auth, minutes, first_seed)


DOCUMENTS = {"gateway": fuzz_gateway, "platform": fuzz_platform}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", choices=sorted(DOCUMENTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    given_options = parser.parse_args(argv)
    words, failed = f"{report.machine()}; code {report.revision()}.\n", False
    for name in [given_options.only] if given_options.only else DOCUMENTS:
        seen, broken = DOCUMENTS[name](given_options.minutes, given_options.seed)
        labels = sorted({label for label, _ in seen})
        statuses = sorted({status for _, status in seen})
        rows = [(label, *(seen[label, status] or "" for status in statuses)) for label in labels]
        words += (
            f"\n{name}: {given_options.minutes:g} minutes, {sum(seen.values()):,} calls, {len(broken)} broken.\n\n"
            f"{report.table(('operation', *map(str, statuses)), rows)}\n"
        )
        for one in broken:
            print(one, file=sys.stderr)
        failed = failed or bool(broken) or not seen
    print(words)
    if given_options.report:
        given_options.report.write_text(words, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

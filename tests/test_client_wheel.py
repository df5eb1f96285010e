"""The client as a package of its own: little of ours, little of others, and it calls a gateway in every algorithm."""

import base64
import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from jinqiao import client_wheel as made
from jinqiao.exchange import actions
from tests.client_environment import client_environment, environment
from tests.exchange.factories import Served, make_served
from tests.exchange.gateways import PERSON, gateway_of
from tools import client_package

PAIRED = ("ed25519", "sm2-sm3")
SECRET = ("hmac-sha256", "hmac-sm3")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_environment(tmp_path_factory.mktemp("application"))


@pytest.fixture
def served(db: None) -> Served:
    return make_served()


def said(client: Path, *words: str) -> str:
    done = subprocess.run(
        [client / "bin" / words[0], *words[1:]], check=False, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_fresh_machine_calls_a_gateway_in_all_four_algorithms(client: Path, served: Served, tmp_path: Path) -> None:
    keys: dict[str, tuple[str, Path]] = {}
    node, developer = served.gateway.node, served.developer
    for algorithm in SECRET:
        key, secret = actions.issue_key(served.application, node, by=developer, algorithm=algorithm)
        keys[algorithm] = key.key_id, tmp_path / algorithm
        (tmp_path / algorithm).write_text(secret)
    for algorithm in PAIRED:
        file = tmp_path / algorithm
        public = said(client, "jinqiao", "keypair", "new", str(file), "--algorithm", algorithm)
        challenge = actions.challenge_for(served.application)
        key = actions.register_key(
            served.application, node, by=developer, algorithm=algorithm, public_key=public, challenge=challenge,
            signature=said(client, "jinqiao", "keypair", "prove", str(file), challenge).strip(),
        )  # fmt: skip
        keys[algorithm] = key.key_id, file

    with gateway_of(served, tmp_path) as root:
        for algorithm, (key_id, file) in keys.items():
            by = (
                ("--key-file", str(file))
                if algorithm in PAIRED
                else ("--secret-file", str(file), "--algorithm", algorithm)
            )
            answer = said(
                client, "jinqiao", "call", root, served.service.number, "--key-id", key_id, *by, "--by", f"sfzh={PERSON}",
                "--items", "djrq", "--purpose", "公租房资格审核", "--case-number", "GZF-2026-17",
            )  # fmt: skip
            assert "djrq: 2015-06-01" in answer, algorithm


def test_the_machine_has_the_client_and_nothing_of_the_platform(client: Path) -> None:
    absent = (
        "django",
        "pyarrow",
        "duckdb",
        "jinqiao.config",
        "jinqiao.dataplane.gateway",
        "jinqiao.dataplane.connectors",
    )
    program = (
        "import importlib.util as u, jinqiao, sys; from jinqiao.dataplane.client import GatewayClient, KeysNotReadable;"
        f"print([n for n in {absent} if u.find_spec(n)], KeysNotReadable(file='k').text('en').message)"
    )

    out = said(client, "python", "-c", program)

    assert out.startswith("[] ")
    assert "k" in out.removeprefix("[] gateway.client")
    assert said(client, "jinqiao", "--version") == said(
        client, "python", "-m", made.ROOT.rpartition(".")[0], "--version"
    )


def test_it_needs_three_distributions() -> None:
    assert {Requirement(text).name for text in made.closure().needs} == {"httpx", "cryptography", "gmssl"}


def test_the_wheel_says_rightly_what_is_in_it_and_is_always_the_same() -> None:
    wheel = made.client_wheel()
    made.closure.cache_clear()
    made.client_wheel.cache_clear()

    assert made.client_wheel() == wheel
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
        lines = [line.split(",") for line in archive.read(record).decode().splitlines()]
        assert {name for name, _, _ in lines} == set(archive.namelist())
        for name, digest, size in lines:
            if name != record:
                content = archive.read(name)
                found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={found}", str(len(content)))


def test_the_tool_writes_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert client_package.main([str(tmp_path)]) == 0

    wheel = made.client_wheel()
    assert (tmp_path / wheel.name).read_bytes() == wheel.content
    assert wheel.name in capsys.readouterr().out

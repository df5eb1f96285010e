"""The guide for developers does what it says: its commands and programs are run against a gateway, in the order of the page."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jinqiao.accounts.actions import change_application_access
from jinqiao.exchange import actions
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.errors import error_texts
from jinqiao.kernel.httpsig import HmacSigner, sign_request
from tests.client_environment import client_environment, environment
from tests.exchange.factories import Served, make_served
from tests.exchange.gateways import gateway_of

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("developing.zh-CN.md", "developing.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def served(db: None) -> Served:
    return make_served()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody at an application's machine: without the platform, with the client as step 5 installs it."""
    return client_environment(tmp_path_factory.mktemp("application")).parent


@pytest.fixture
def there(served: Served, machine: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has come to step 5 of the guide, in the folder of `machine`."""
    wanted = actions.ServiceSettings(operations=tuple(Operation), filter_items=("djrq",), national_id="s_620302_0001")
    actions.set_service(served.service, wanted, by=served.world.parties.clerk)
    change_application_access(served.application, by=None, addresses=(), certificates=(), national_id="rid_620302_01")
    (machine / "secret.txt").write_text(served.secret)
    with gateway_of(served, tmp_path) as root:
        yield {
            **environment(),
            "GATEWAY": root,
            "SERVICE": served.service.number,
            "KEY_ID": served.key.key_id,
            "RID": "rid_620302_01",
            "SID": "s_620302_0001",
            "PYTHONIOENCODING": "utf-8",
            "LANG": "C.UTF-8",
        }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_languages_show_the_same_commands() -> None:
    for language in ("sh", "python", "java"):
        assert blocks(PAGES[0], language) == blocks(PAGES[1], language)


def test_the_commands_of_the_guide_work_in_their_order(there: dict[str, str], machine: Path) -> None:
    script = "\n".join(blocks(PAGES[0], "sh"))
    out = run(["bash", "-euo", "pipefail", "-c", script], machine, there)

    assert out.count("djrq: 2020-01-01") >= 2  # sandbox: a person, alone and in a batch
    assert "djrq: 2015-06-01" in out  # production: the one person of the department
    assert '{"code":200,"message"' in out.replace(" ", "")  # by the national convention
    assert '"openapi": "3.1.0"' in (machine / "openapi.json").read_text()


def test_the_python_of_the_guide_works(there: dict[str, str], machine: Path) -> None:
    program, national = blocks(PAGES[0], "python")
    out = run(["client/bin/python", "-c", program], machine, there)

    assert "yes" in out
    assert "gateway.items.not_granted" in out
    assert run(["client/bin/python", "-c", national], machine, there) == "200 yes\n"


@pytest.mark.skipif(shutil.which("javac") is None, reason="no javac on this machine")
def test_the_java_of_the_guide_works(there: dict[str, str], machine: Path) -> None:
    (program,) = blocks(PAGES[0], "java")
    (machine / "Call.java").write_text(program, encoding="utf-8")
    run(["javac", "-encoding", "UTF-8", "Call.java"], machine, there)

    assert run(["java", "Call"], machine, there).startswith("200 ")


@pytest.mark.parametrize("page", PAGES)
def test_the_test_vector_is_right(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")

    def cell(name: str) -> str:
        match = re.search(rf"^\| {re.escape(name)} \| `(.*)` \|$", text, re.MULTILINE)
        assert match is not None, name
        return match[1]

    def signed(algorithm: str) -> Any:
        return sign_request(
            "POST",
            cell("URL"),
            cell("body").encode(),
            key_id="ak-0123456789abcdef",
            signer=HmacSigner(algorithm, cell("secret").encode()),
            headers={"Content-Type": cell("Content-Type")},
            created=1773792000,
            nonce="nonce-demo-00000001",
        )

    headers = signed("hmac-sha256")
    assert {name: cell(name) for name in headers} == headers
    assert cell("hmac-sm3") == signed("hmac-sm3")["Signature"]
    assert f'"content-digest": {headers["Content-Digest"]}' in text


@pytest.mark.parametrize("page", PAGES)
def test_every_code_that_the_guide_names_exists(page: str) -> None:
    named = set(re.findall(r"`((?:gateway|signature)\.[a-z_]+\.?[a-z_.]*)`", (DOCS / page).read_text(encoding="utf-8")))
    assert named - {"gateway.md"} <= set(error_texts())


def test_the_guide_names_every_operation() -> None:
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        for operation in Operation:
            assert f"`{operation.value}`" in text

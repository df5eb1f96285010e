"""The try-it page and the OpenAPI document of an application, with a running gateway behind them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from openapi_spec_validator import OpenAPIV31SpecValidator

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.httpsig import HmacSigner, sign_request
from tests.exchange.factories import Served
from tests.exchange.gateways import PERSON, gateway_of
from tests.factories import make_post

pytestmark = pytest.mark.django_db
ALL = actions.ServiceSettings(operations=tuple(Operation), filter_items=("djrq",))


@pytest.fixture
def gateway(served: Served, settings: Any, tmp_path: Path) -> Iterator[str]:
    actions.set_service(served.service, ALL, by=served.world.parties.clerk)
    with gateway_of(served, tmp_path) as root:
        settings.PUBLIC_URL = root
        yield root


def page_of(served: Served, operation: str = "query") -> str:
    return f"{reverse('exchange:service_try', args=[served.service.pk])}?operation={operation}"


def asked(form: Any, **changes: Any) -> dict[str, Any]:
    """What a browser sends of a form as it was shown."""
    shown = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in {**shown, **changes}.items() if value not in (None, False)}


@pytest.mark.parametrize("operation", list(Operation))
def test_the_first_try_of_each_operation_succeeds(
    enter: Any, served: Served, gateway: str, operation: Operation
) -> None:
    client = enter(served.developer)
    page = page_of(served, operation.value)
    form = client.get(page).context["form"]

    response = client.post(page, asked(form))

    tried = response.context["tried"]
    assert tried.is_answered, tried.answer
    text = response.content.decode()
    assert "Signature-Input" in text
    assert "/gateway/sandbox/v1/services/" in tried.url
    assert served.secret not in text
    event = AuditEvent.objects.get(action="exchange.service.try")
    assert event.details["status"] == 200


def test_a_refusal_is_shown_as_the_gateway_says_it(enter: Any, served: Served, gateway: str) -> None:
    client = enter(served.developer)
    form = client.get(page_of(served)).context["form"]

    response = client.post(page_of(served), asked(form, case_number="--"))

    assert response.context["tried"].status == 400
    assert json.loads(response.context["answer"])["code"] == "gateway.request.field"


def test_the_printed_command_calls_sandbox_and_production(
    enter: Any, served: Served, gateway: str, tmp_path: Path
) -> None:
    client = enter(served.developer)
    form = client.get(page_of(served)).context["form"]
    response = client.post(page_of(served), asked(form))
    (tmp_path / "secret.txt").write_text(served.secret)

    def run(script: str) -> dict[str, Any]:
        out = subprocess.run(
            ["sh", "-c", script.replace("ak-…", served.key.key_id)], cwd=tmp_path, check=True, capture_output=True
        )
        return dict(json.loads(out.stdout))

    sandbox, production = (response.context[name][0].text for name in ("sandbox_code", "production_code"))

    assert run(sandbox)["count"] == 1
    number = form["by_sfzh"].value()
    assert run(production)["count"] == 0
    assert run(production.replace(number, PERSON))["rows"][0]["djrq"] == "2015-06-01"


@pytest.mark.skipif(shutil.which("javac") is None, reason="no javac on this machine")
def test_the_printed_java_compiles_and_calls(enter: Any, served: Served, gateway: str, tmp_path: Path) -> None:
    client = enter(served.developer)
    form = client.get(page_of(served)).context["form"]
    response = client.post(page_of(served), asked(form))
    (tmp_path / "secret.txt").write_text(served.secret)
    code = response.context["sandbox_code"][2].text.replace("ak-…", served.key.key_id)
    (tmp_path / "Call.java").write_text(code, encoding="utf-8")
    for command in (["javac", "-encoding", "UTF-8", "Call.java"], ["java", "-Dfile.encoding=UTF-8", "Call"]):
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("200 "), done.stdout


def test_the_printed_python_calls(enter: Any, served: Served, gateway: str, tmp_path: Path) -> None:
    import sys

    client = enter(served.developer)
    (tmp_path / "secret.txt").write_text(served.secret)
    for operation in Operation:
        page = page_of(served, operation.value)
        response = client.post(page, asked(client.get(page).context["form"]))
        code = response.context["sandbox_code"][1].text.replace("ak-…", served.key.key_id)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_gateway_that_is_away_is_said_on_the_page(enter: Any, served: Served, settings: Any) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    client = enter(served.developer)
    form = client.get(page_of(served)).context["form"]

    response = client.post(page_of(served), asked(form, by_sfzh="999999199001010016"))

    assert "连接不上网关127.0.0.1:9" in response.content.decode()


def test_who_may_not_attach_may_not_try(enter: Any, served: Served) -> None:
    for stranger, status in (
        (served.world.parties.clerk, 403),
        (make_post(Role.DEVELOPER), 404),
        (make_post(Role.BUREAU), 403),
    ):
        assert enter(stranger).get(page_of(served)).status_code == status


def test_a_developer_without_an_application_of_his_own_is_told_what_to_do(enter: Any, served: Served) -> None:
    colleague = make_post(Role.DEVELOPER, served.world.parties.consumer)

    assert "先在服务页把应用挂上" in enter(colleague).get(page_of(served)).content.decode()


def test_the_document_on_the_page_and_at_the_gateway_agree(enter: Any, served: Served, gateway: str) -> None:
    import httpx

    address = reverse("accounts:application_openapi", args=[served.application.pk])
    page = enter(served.developer).get(address).json()
    url = f"{gateway}/gateway/v1/openapi.json"
    signer = HmacSigner("hmac-sha256", served.secret.encode())
    told = httpx.get(
        url, headers=sign_request("GET", url, b"", key_id=served.key.key_id, signer=signer), trust_env=False
    ).json()

    OpenAPIV31SpecValidator(page).validate()
    assert page["servers"][0]["url"] == f"{gateway}/gateway/v1"
    assert {name: value for name, value in page.items() if name not in ("servers", "paths")} == {
        name: value for name, value in told.items() if name not in ("servers", "paths")
    }
    assert page["paths"].keys() == told["paths"].keys()


def test_another_departments_document_is_not_seen(enter: Any, served: Served) -> None:
    address = reverse("accounts:application_openapi", args=[served.application.pk])
    assert enter(make_post(Role.DEVELOPER)).get(address).status_code == 404
    assert enter(served.developer).get(f"{address}?gateway=nowhere").status_code == 404

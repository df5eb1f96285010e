"""The document that an application gets of what it may ask: valid, signed for, and no wider than its grants."""

import json
from dataclasses import replace
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.openapi import PATH, Documents
from jinqiao.kernel.contracts.policy import Operation, RoleMask
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.kernel.httpsig import IdentitySigner
from tests.dataplane.gateway.world import Caller, World, day, records, talk


def everything(world: World) -> World:
    """A service that offers all there is, and one of another application."""
    (service,) = world.services
    full = replace(
        service,
        operations=tuple(Operation),
        filter_items=("hyzk", "djrq", "bt", "xh"),
        end_user_required=True,
        role_masks=(RoleMask(role="窗口人员", code="bt", mask=Mask.HIDDEN),),
        smallest_count=10,
        calls_per_day=1000,
        deprecated_on=day(-1),
        ends_on=day(90),
        successor="hunyin-dengji-002",
    )
    world.services = (full, replace(service, service="other-001", applications=("app-stranger",)))
    world.publish()
    return world


def document_of(world: World, **changes: Any) -> dict[str, Any]:
    async def conversation(caller: Caller, gateway: Gateway) -> Any:
        return await caller.ask(b"", path=PATH, method="GET", content_type=None, **changes)

    response = talk(world, conversation)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_document_is_valid_openapi(world: World, language: str) -> None:
    document = document_of(everything(world), headers={"Accept-Language": language})

    OpenAPIV31SpecValidator(document).validate()  # type: ignore[arg-type]
    assert document["openapi"] == "3.1.0"
    assert ("Production" in json.dumps(document)) == (language == "en")


def test_it_lists_what_the_application_may_ask_and_nothing_else(world: World) -> None:
    document = document_of(everything(world))
    text = json.dumps(document, ensure_ascii=False)

    assert set(document["paths"]) == {
        "/openapi.json",
        "/services/hunyin-dengji-001/examples",
        *(f"/services/hunyin-dengji-001/{operation.value}" for operation in Operation),
    }
    query = document["paths"]["/services/hunyin-dengji-001/query"]["post"]
    schema = query["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["items"]["items"]["enum"] == ["sfzh", "xm", "hyzk", "djrq", "bt", "xh"]
    assert schema["properties"]["purpose"]["enum"] == ["公租房资格核验", "保障房年审"]
    assert schema["required"] == ["by", "items", "purpose", "case_number", "end_user"]
    assert query["deprecated"]
    assert query["x-jinqiao-limits"]["successor"] == "hunyin-dengji-002"
    for secret in ("other-001", "note", "phone", "id_no", "620302", "area", str(world.folder), "person"):
        assert f'"{secret}"' not in text


def test_only_offered_operations_are_paths(world: World) -> None:
    assert set(document_of(world)["paths"]) == {
        "/openapi.json",
        "/services/hunyin-dengji-001/query",
        "/services/hunyin-dengji-001/examples",
    }


def test_whoever_does_not_sign_gets_no_document_and_the_asking_is_recorded(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> Any:
        bare = await caller.client.get(PATH)
        posted = await caller.ask({}, path=PATH)
        questioned = await caller.ask(b"", path=f"{PATH}?a=1", method="GET", content_type=None)
        good = await caller.ask(b"", path=PATH, method="GET", content_type=None, nonce="n" * 20)
        again = await caller.ask(b"", path=PATH, method="GET", content_type=None, nonce="n" * 20)
        return [bare, posted, questioned, good, again]

    answers = talk(world, conversation)

    assert [answer.status_code for answer in answers] == [401, 405, 400, 200, 401]
    assert [(record["operation"], record["outcome"]) for record in records(world)] == [
        ("openapi", "signature.missing"),
        ("openapi", "gateway.request.method"),
        ("openapi", "gateway.request.query_string"),
        ("openapi", "ok"),
        ("openapi", "signature.replayed"),
    ]


def test_an_application_without_services_gets_a_document_without_services(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> Any:
        caller.key_id, caller.secret = "key-stranger", "s3cret-of-a-stranger"
        return await caller.ask(b"", path=PATH, method="GET", content_type=None)

    document = talk(world, conversation).json()

    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]) == {"/openapi.json"}


def test_a_document_is_made_once_for_a_policy(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        view = gateway._desk.view  # type: ignore[union-attr]
        documents = Documents()
        application = view.keys["key-housing"].application  # type: ignore[union-attr]
        first = documents.body(view, application, "zh")  # type: ignore[arg-type]
        assert documents.body(view, application, "zh") is first  # type: ignore[arg-type]
        newer = replace(view, version=view.version + 1, services={})  # type: ignore[type-var, union-attr]
        assert b"hunyin" not in documents.body(newer, application, "zh")

    talk(world, conversation)


def test_the_platforms_own_key_opens_no_department(world: World) -> None:
    """It is for the sandbox: neither data nor document of an application are given for it, nor is its word taken."""

    async def conversation(caller: Caller, gateway: Gateway) -> Any:
        caller.key_id, caller.signer = "try-app-housing", IdentitySigner(world.platform)
        asked = await caller.ask()
        document = await caller.ask(b"", path=PATH, method="GET", content_type=None)
        receipt = {"receipts": [{"call_id": "0" * 32, "answer_commitment": "0" * 64}]}
        return asked, document, await caller.ask(receipt, path="/gateway/v1/receipts")

    for answer in talk(world, conversation):
        assert (answer.status_code, answer.json()["code"]) == (403, "gateway.caller.sandbox_only")

"""The one policy function, without a server: what is granted is permitted, and nothing beside it."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from jinqiao.dataplane.gateway import errors
from jinqiao.dataplane.gateway.asked import Question
from jinqiao.dataplane.gateway.policy import Permission, callable_service, permit
from jinqiao.dataplane.gateway.quota import Use
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.moments import CHINA
from tests.dataplane.gateway.world import ANN, PURPOSE, SERVICE, day, service

NOWHERE = Connection(engine=Engine.SQLITE, database="nowhere.db")
NOTHING_USED = Use()
QUESTION = Question(by={"sfzh": ANN}, items=("xm", "hyzk"), purpose=PURPOSE, case_number="GZF-1")


NOON = time(12, 0)


def at(offset: int = 0, moment: time = NOON) -> datetime:
    """A local time of a day, counted from today."""
    return datetime.combine(day(offset), moment, tzinfo=CHINA)


def permitted(
    question: Question = QUESTION,
    operation: Operation = Operation.QUERY,
    *,
    when: datetime | None = None,
    use: Use = NOTHING_USED,
    **changes: Any,
) -> Permission:
    """`changes` go into the service, which offers every operation."""
    offering = service(NOWHERE, **{"operations": tuple(Operation), **changes})
    return permit(offering, operation, question, at=when or at(), use=use)


def refused(
    question: Question = QUESTION,
    operation: Operation = Operation.QUERY,
    *,
    when: datetime | None = None,
    use: Use = NOTHING_USED,
    **changes: Any,
) -> JinqiaoError:
    with pytest.raises(JinqiaoError) as caught:
        permitted(question, operation, when=when, use=use, **changes)
    return caught.value


def test_what_is_granted_is_permitted() -> None:
    permission = permitted()

    assert [item.code for item in permission.items] == ["xm", "hyzk"]
    assert ([item.code for item in permission.key_items], permission.keys) == (["sfzh"], ((ANN,),))
    assert permission.row_cap == 100


def test_a_service_that_is_not_there_and_one_that_is_not_yours_are_told_alike() -> None:
    services = {SERVICE: service(NOWHERE)}
    said = []
    for name, application in (
        ("no-such-service", "app-housing"),
        (SERVICE, "app-stranger"),
        ("no-such-service", "app-stranger"),
    ):
        with pytest.raises(errors.ServiceUnknown) as caught:
            callable_service(services, name, application)
        said.append((caught.value.code, caught.value.details, caught.value.http_status, caught.value.text("zh")))
    assert said[0] == said[1] == said[2]
    assert callable_service(services, SERVICE, "app-housing") is services[SERVICE]


@pytest.mark.parametrize(("offset", "live"), [(-11, False), (-10, True), (0, True), (100, True), (101, False)])
def test_a_grant_is_live_on_its_first_and_last_day_and_not_outside(offset: int, live: bool) -> None:
    if live:
        assert permitted(when=at(offset))
    else:
        error = refused(when=at(offset))
        assert isinstance(error, errors.GrantNotLive)
        assert error.details["valid_until"] == (day(0) + timedelta(days=100)).isoformat()


def test_a_suspended_service_says_so_before_anything_else() -> None:
    assert isinstance(refused(Question(by={}, items=()), suspended=True), errors.ServiceSuspended)


@pytest.mark.parametrize("mode", [SharingMode.BATCH, SharingMode.FILE])
def test_a_grant_of_another_mode_is_no_grant_to_query(mode: SharingMode) -> None:
    assert isinstance(refused(grant={"mode": mode}), errors.GrantNotLive)


@pytest.mark.parametrize(
    "purpose", ["公租房资格核验 ", " 公租房资格核验", "公租房资格审查", "保障房", "公租房资格核验\u200b"]
)
def test_a_purpose_must_be_one_of_the_grants_to_the_letter(purpose: str) -> None:
    error = refused(replace(QUESTION, purpose=purpose))
    assert isinstance(error, errors.PurposeNotGranted)
    assert PURPOSE in str(error.details["allowed"])


def test_without_a_purpose_the_allowed_ones_are_named() -> None:
    error = refused(replace(QUESTION, purpose=""))
    assert isinstance(error, errors.PurposeMissing)
    assert "保障房年审" in error.text("zh").mend


def test_a_grant_without_purposes_permits_no_call() -> None:
    assert isinstance(refused(grant={"purposes": ()}), errors.PurposeNotGranted)


@pytest.mark.parametrize("number", ["", " ", "\u3000"])
def test_a_case_number_is_demanded_where_the_grant_demands_it(number: str) -> None:
    assert isinstance(refused(replace(QUESTION, case_number=number)), errors.CaseNumberMissing)
    assert permitted(replace(QUESTION, case_number=""), grant={"case_number_required": False})


@pytest.mark.parametrize(
    "items",
    [("xm", "phone"), ("note",), ("XM",), ("ｘｍ",), ("name",), ("*",), ("xm, note",), ('xm" FROM person --',), ()],
)
def test_asking_for_more_than_granted_gives_nothing_and_names_what_is_granted(items: tuple[str, ...]) -> None:
    error = refused(replace(QUESTION, items=items))
    assert isinstance(error, errors.ItemsNotGranted)
    assert error.details == {"allowed": "sfzh、xm、hyzk、djrq、bt、xh"}


@pytest.mark.parametrize("by", [{}, {"xm": "安小雅"}, {"sfzh": ANN, "xm": "安小雅"}, {"SFZH": ANN}, {"id_no": ANN}])
def test_the_keys_are_exactly_the_key_items(by: dict[str, str]) -> None:
    error = refused(replace(QUESTION, by=by))
    assert isinstance(error, errors.KeysNotExact)
    assert error.details == {"wanted": "sfzh"}


def test_a_service_without_key_items_or_with_one_that_is_not_granted_answers_nothing() -> None:
    assert isinstance(refused(replace(QUESTION, by={}), key_items=()), errors.KeysNotExact)
    assert isinstance(refused(replace(QUESTION, by={"phone": "1"}), key_items=("phone",)), errors.KeysNotExact)


@pytest.mark.parametrize(("wait_s", "retry_after"), [(0.2, 1), (1.0, 1), (30.5, 31)])
def test_beyond_the_rate_the_caller_learns_how_long_to_wait(wait_s: float, retry_after: int) -> None:
    error = refused(use=Use(wait_s=wait_s))
    assert isinstance(error, errors.RateExceeded)
    assert error.details == {"limit": 600, "retry_after": retry_after}

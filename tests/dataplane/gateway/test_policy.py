"""The one policy function, without a server: what is granted is permitted, and nothing beside it."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from jinqiao.dataplane.gateway import errors
from jinqiao.dataplane.gateway.asked import Condition, Question
from jinqiao.dataplane.gateway.policy import Permission, callable_service, permit
from jinqiao.dataplane.gateway.quota import Use
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.policy import Hours, Operation, RoleMask
from jinqiao.kernel.contracts.tables import Connection, Engine, Mask, Operator
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

    assert [item.code for item in permission.shape.items] == ["xm", "hyzk"]
    assert ([item.code for item in permission.shape.key_items], permission.keys) == (["sfzh"], ((ANN,),))
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


@pytest.mark.parametrize("number", ["", " "])
def test_an_end_user_is_demanded_where_the_service_demands_one(number: str) -> None:
    assert isinstance(refused(replace(QUESTION, end_user=number), end_user_required=True), errors.EndUserMissing)
    assert permitted(replace(QUESTION, end_user="李经办"), end_user_required=True)


def test_a_service_that_shows_own_cases_demands_the_case_even_where_the_grant_does_not() -> None:
    grant = {"case_number_required": False}
    assert isinstance(
        refused(replace(QUESTION, case_number=""), grant=grant, case_column="case_no"), errors.CaseNumberMissing
    )


OFFICE = (Hours(first="08:30", last="18:00", weekdays=(1, 2, 3, 4, 5)),)
NIGHT = (Hours(first="22:00", last="06:00", weekdays=(5,)), Hours(first="20:00", last="24:00", weekdays=(7,)))


@pytest.mark.parametrize(
    ("hours", "weekday", "moment", "opened"),
    [
        (OFFICE, 1, time(8, 29, 59), False),
        (OFFICE, 1, time(8, 30), True),
        (OFFICE, 5, time(17, 59, 59), True),
        (OFFICE, 5, time(18, 0), False),
        (OFFICE, 6, time(12, 0), False),
        (NIGHT, 5, time(23, 0), True),
        (NIGHT, 6, time(5, 59), True),
        (NIGHT, 6, time(6, 0), False),
        (NIGHT, 5, time(5, 0), False),
        (NIGHT, 7, time(23, 59), True),
        (NIGHT, 1, time(0, 0), False),
        ((Hours(first="8h", last="18:00"),), 1, time(12, 0), False),
    ],
)
def test_a_service_answers_within_its_hours_and_names_them(
    hours: tuple[Hours, ...], weekday: int, moment: time, opened: bool
) -> None:
    monday = day(0) - timedelta(days=day(0).weekday())
    when = datetime.combine(monday + timedelta(days=weekday - 1), moment, tzinfo=CHINA)
    grant = {"valid_from": day(-30), "valid_until": day(30)}
    if opened:
        assert permitted(when=when, hours=hours, grant=grant)
    else:
        error = refused(when=when, hours=hours, grant=grant)
        assert isinstance(error, errors.OutsideHours)
        assert hours[0].first in str(error.details["allowed"])


def test_a_service_answers_on_its_last_day_and_names_its_successor_afterwards() -> None:
    assert permitted(ends_on=day(0))
    error = refused(ends_on=day(-1), successor="hunyin-002")
    assert isinstance(error, errors.ServiceEnded)
    assert (error.http_status, error.details["successor"]) == (410, "hunyin-002")


@pytest.mark.parametrize("operation", list(Operation))
def test_each_operation_is_answered_only_where_it_is_offered(operation: Operation) -> None:
    others = tuple(other for other in Operation if other is not operation)
    error = refused(QUESTION, operation, operations=others)
    assert isinstance(error, errors.OperationNotOffered)
    assert error.details["allowed"] == "、".join(others)


def test_a_service_over_http_can_be_looked_up_in_and_no_more() -> None:
    over_http = Connection(engine=Engine.HTTP, database="http://nowhere")
    for operation in (Operation.LIST, Operation.COUNT):
        with pytest.raises(errors.OperationNotOffered) as caught:
            permit(service(over_http, operations=tuple(Operation)), operation, QUESTION, at=at(), use=NOTHING_USED)
        assert caught.value.details["allowed"] == "query、batch、verify"


BATCH = replace(QUESTION, by={}, batch=({"sfzh": ANN},) * 5)


@pytest.mark.parametrize(
    ("question", "operation", "used", "fits"),
    [
        (QUESTION, Operation.QUERY, 9, True),
        (QUESTION, Operation.QUERY, 10, False),
        (BATCH, Operation.BATCH, 5, True),
        (BATCH, Operation.BATCH, 6, False),
    ],
)
def test_the_calls_of_a_day_are_counted_by_their_keys(
    question: Question, operation: Operation, used: int, fits: bool
) -> None:
    if fits:
        assert permitted(question, operation, use=Use(calls=used), calls_per_day=10)
    else:
        error = refused(question, operation, use=Use(calls=used), calls_per_day=10, when=at(0, time(23, 0)))
        assert isinstance(error, errors.CallsOfTodayUsed)
        assert (error.http_status, error.details["retry_after"]) == (429, 3600)


def test_rows_of_the_day_bound_the_rows_of_an_answer() -> None:
    assert permitted(use=Use(rows=7), rows_per_day=10).row_cap == 3
    assert isinstance(refused(use=Use(rows=10), rows_per_day=10), errors.RowsOfTodayUsed)
    # an answer without rows takes none
    asked = replace(QUESTION, claims={"hyzk": "married"})
    assert permitted(asked, Operation.VERIFY, use=Use(rows=10), rows_per_day=10)


def test_a_batch_holds_no_more_keys_than_the_cap_nor_than_a_minute() -> None:
    assert refused(BATCH, Operation.BATCH, batch_cap=4).details == {"allowed": 4}
    assert refused(BATCH, Operation.BATCH, batch_cap=9, calls_per_minute=3).details == {"allowed": 3}


MASKS = (
    RoleMask(role="审核员", code="hyzk", mask=Mask.NONE),
    RoleMask(role="窗口", code="hyzk", mask=Mask.HIDDEN),
    RoleMask(role="审核员", code="xm", mask=Mask.NONE),
    RoleMask(role="电话员", code="sfzh", mask=Mask.PHONE),
)


@pytest.mark.parametrize(
    ("role", "masks"),
    [
        ("审核员", {"hyzk": Mask.NONE, "xm": Mask.NAME, "sfzh": Mask.HIDDEN}),
        ("窗口", {"hyzk": Mask.HIDDEN, "xm": Mask.NAME, "sfzh": Mask.HIDDEN}),
        ("", {"hyzk": Mask.HIDDEN, "xm": Mask.NAME}),
        ("审核员 ", {"hyzk": Mask.HIDDEN}),
    ],
)
def test_masks_follow_the_role_and_are_the_strictest_for_an_unknown_one(role: str, masks: dict[str, Mask]) -> None:
    permission = permitted(replace(QUESTION, items=("hyzk", "xm", "sfzh"), role=role), role_masks=MASKS)
    assert {item.code: item.mask for item in permission.shape.items if item.code in masks} == masks


def test_an_item_that_a_role_sees_masked_cannot_be_filtered_by_that_role() -> None:
    asked = Question(
        by={},
        items=("djrq",),
        purpose=PURPOSE,
        case_number="1",
        filter=(Condition("hyzk", Operator.EQUAL, ("married",)),),
    )
    for operation in (Operation.LIST, Operation.COUNT):
        assert permitted(replace(asked, role="审核员"), operation, role_masks=MASKS, filter_items=("hyzk",)).conditions
        error = refused(replace(asked, role="窗口"), operation, role_masks=MASKS, filter_items=("hyzk",))
        assert isinstance(error, errors.FilterNotAllowed)


def test_filters_take_operators_and_values_of_their_items_type() -> None:
    def condition(code: str, operator: Operator, *values: Any) -> Question:
        return Question(
            by={}, items=("djrq",), purpose=PURPOSE, case_number="1", filter=(Condition(code, operator, values),)
        )

    opened = {"filter_items": ("hyzk", "djrq", "bt", "xh")}
    for code, operator, value in (
        ("xh", Operator.STARTS_WITH, "1"),
        ("djrq", Operator.EQUAL, "2020-1-1"),
        ("xh", Operator.EQUAL, "x"),
        ("bt", Operator.AT_LEAST, True),
        ("hyzk", Operator.EQUAL, 1),
        ("hyzk", Operator.STARTS_WITH, ""),
    ):
        error = refused(condition(code, operator, value), Operation.COUNT, **opened)
        assert isinstance(error, errors.FilterNotValid), (code, operator)
    assert permitted(condition("bt", Operator.AT_LEAST, "1.5"), Operation.COUNT, **opened)


def test_persons_of_rows_are_read_for_the_record_where_nobody_is_named() -> None:
    named = permitted(subject_items=("sfzh",))
    assert [item.code for item in named.shape.read] == ["xm", "hyzk"]
    listed = permitted(replace(QUESTION, by={}), Operation.LIST, subject_items=("sfzh", "gone"))
    assert [item.code for item in listed.shape.read] == ["xm", "hyzk", "sfzh"]
    assert [item.code for item in listed.shape.items] == ["xm", "hyzk"]

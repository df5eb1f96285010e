"""A watermark run brings what is new since the cursor: ties, late commits, clocks that are wrong, and nothing twice."""

import pickle
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors.snapshots import Tuples
from jinqiao.dataplane.connectors.watermarks import WatermarkFacts
from jinqiao.dataplane.errors import CursorNotUsable, StateLost
from jinqiao.dataplane.pipeline.modes.cursors import Scale
from jinqiao.dataplane.pipeline.modes.watermark import WatermarkSession
from jinqiao.dataplane.pipeline.orders import join_cursor, split_cursor
from jinqiao.dataplane.staging.state import StateStore, TaskState
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, ExchangeOrder, Finding
from jinqiao.kernel.contracts.tables import Column, LogicalType, Operator, TableSchema
from tests.dataplane.exchanges import order
from tests.dataplane.pipeline.replica import Replica, Row, batches, person

KEY = bytes(range(32))
NOON = datetime.fromisoformat("2026-03-18T12:00:00")
TABLE = TableSchema(
    name="people",
    columns=(
        Column(name="id", type=LogicalType.INTEGER, primary_key=True),
        Column(name="name", type=LogicalType.TEXT),
        Column(name="born", type=LogicalType.DATE),
        Column(name="updated", type=LogicalType.DATETIME),
    ),
)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def state(tmp_path: Path) -> TaskState:
    return StateStore(tmp_path / "state", KEY, "international").task("T-1")


def watermark(**changes: Any) -> ExchangeOrder:
    return order(**({"mode": CopyMode.WATERMARK, "watermark_column": "updated", "delivery": Delivery.UPSERT} | changes))


def let_through(session: WatermarkSession, rows: Sequence[Row]) -> list[Row]:
    """What the source gives under the session's conditions."""
    found = []
    for row in rows:
        text = row[3].isoformat(timespec="microseconds") if row[3] else ""
        if all(
            text and (text >= one.values[0] if one.operator is Operator.AT_LEAST else text <= one.values[0])
            for one in session.conditions
        ):
            found.append(row)
    return found


def run(
    state: TaskState,
    rows: Sequence[Row],
    after: str = "",
    batch_id: str = "B-1",
    *,
    now: datetime = NOON,
    settled: datetime | None = None,
    null_rows: int | None = None,
    is_raw: bool = False,
    **changes: Any,
) -> tuple[list[Row], str, tuple[Finding, ...]]:
    """One run over these rows: rows handed over, the new cursor, findings."""
    terms = watermark(after=after, **changes)
    session = WatermarkSession(state, terms, TABLE, WatermarkFacts(now, settled, null_rows), is_raw=is_raw)
    sent: list[Row] = []
    for batch in batches(terms, let_through(session, rows)):
        if is_raw:
            sent += in_words(session.filter_raw(in_octets(batch), []))
        else:
            sent += [tuple(row.values()) for row in session.filter(batch, session.marks(batch)).to_pylist()]
    return sent, session.save(batch_id), session.findings()


def in_octets(batch: pa.RecordBatch) -> Tuples:
    """Rows in a binary form of their own, with their marks, as a source hands them over."""
    rows = [pickle.dumps(tuple(row.values())) for row in batch.to_pylist()]
    ends = [0, *accumulate(len(row) for row in rows)]
    return Tuples(b"".join(rows), len(rows), batch.column("updated").cast(pa.int64()), ends)


def in_words(tuples: Tuples) -> list[Row]:
    stream = BytesIO(tuples.data)
    found = [pickle.load(stream) for _ in range(tuples.rows)]  # noqa: S301 -- made above
    assert stream.read() == b""
    return found


def test_the_first_run_brings_everything_and_its_cursor_is_the_highest_watermark(state: TaskState) -> None:
    people = [person(1, "张三", at(-60)), person(2, "李四", at(-30))]

    sent, cursor, findings = run(state, people)

    assert (sent, findings) == (people, ())
    assert cursor == "2026-03-18T11:59:30.000000#B-1"


def test_a_run_without_a_change_moves_nothing_though_the_overlap_is_read_again(state: TaskState) -> None:
    people = [person(number, "王", at(-number)) for number in range(1, 30)]
    _, cursor, _ = run(state, people, overlap_s=10)

    assert run(state, people, cursor, "B-2", overlap_s=10)[0] == []


def test_a_row_with_exactly_the_cursors_watermark_that_came_later_is_not_lost(state: TaskState) -> None:
    people = [person(1, "张三", at(-30))]
    _, cursor, _ = run(state, people)
    people.append(person(2, "李四", at(-30)))

    assert run(state, people, cursor, "B-2")[0] == [person(2, "李四", at(-30))]


def test_a_row_committed_late_is_found_within_the_overlap_and_only_there(state: TaskState) -> None:
    people = [person(1, "张三", at(-30))]
    _, cursor, _ = run(state, people, overlap_s=60)
    people += [person(2, "迟", at(-80)), person(3, "太迟", at(-95))]

    assert run(state, people, cursor, "B-2", overlap_s=60)[0] == [person(2, "迟", at(-80))]


def test_a_row_that_changed_and_changed_back_within_the_overlap_is_sent_each_time(state: TaskState) -> None:
    first, second = [person(1, "张三", at(-30))], [person(1, "李四", at(-30))]
    _, cursor, _ = run(state, first, overlap_s=60)
    sent, cursor, _ = run(state, second, cursor, "B-2", overlap_s=60)
    assert sent == second

    assert run(state, first, cursor, "B-3", overlap_s=60)[0] == first


def test_what_was_sent_in_a_batch_that_never_arrived_is_sent_again(state: TaskState) -> None:
    people = [person(1, "张三", at(-30))]
    _, cursor, _ = run(state, people)
    people.append(person(2, "李四", at(-20)))
    run(state, people, cursor, "B-2", overlap_s=60)

    assert run(state, people, cursor, "B-3", overlap_s=60)[0] == [person(2, "李四", at(-20))]


@pytest.mark.parametrize("is_raw", [False, True], ids=["columns", "octets"])
def test_a_row_from_the_future_does_not_carry_the_cursor_along(state: TaskState, is_raw: bool) -> None:
    people = [person(1, "张三", at(-30)), person(2, "未来", at(86_400))]
    sent, cursor, _ = run(state, people, is_raw=is_raw)
    assert (sent, cursor) == (people, join_cursor("2026-03-18T11:59:30.000000", "B-1"))

    people += [person(3, "李四", at(10)), person(4, "夜间装载", at(-20))]  # the latter was stamped before the first run
    sent, cursor, _ = run(state, people, cursor, "B-2", now=at(20), is_raw=is_raw)
    assert sent == [
        person(3, "李四", at(10)),
        person(4, "夜间装载", at(-20)),
    ]  # and not the one from the future once more

    assert run(state, people, cursor, "B-3", now=at(90_000), is_raw=is_raw)[0] == []


@pytest.mark.parametrize("is_raw", [False, True], ids=["columns", "octets"])
def test_rows_from_the_future_alone_come_once(state: TaskState, is_raw: bool) -> None:
    people = [person(1, "未来", at(86_400)), person(2, "未来", at(90_000))]
    sent, cursor, _ = run(state, people, is_raw=is_raw)
    assert (sent, cursor) == (people, join_cursor("2026-03-18T12:00:00.000000", "B-1"))

    people.append(person(3, "李四", at(10)))
    sent, cursor, _ = run(state, people, cursor, "B-2", now=at(20), is_raw=is_raw)
    assert (sent, cursor) == ([person(3, "李四", at(10))], join_cursor("2026-03-18T12:00:10.000000", "B-2"))


def test_a_run_that_brings_rows_from_the_future_alone_leaves_the_cursor_where_it_is(state: TaskState) -> None:
    people = [person(1, "张三", at(-30))]
    _, cursor, _ = run(state, people)
    people.append(person(2, "未来", at(86_400)))
    _, cursor, _ = run(state, people, cursor, "B-2", now=at(20))
    assert cursor == join_cursor("2026-03-18T11:59:30.000000", "B-2")


def test_the_cursor_waits_for_a_transaction_that_is_still_open(state: TaskState) -> None:
    people = [person(1, "张三", at(-10))]
    _, cursor, _ = run(state, people, settled=at(-100))
    people.append(person(2, "久", at(-99)))

    assert run(state, people, cursor, "B-2")[0] == [person(2, "久", at(-99))]


def test_the_cursor_never_goes_back(state: TaskState) -> None:
    people = [person(1, "张三", at(-10))]
    _, cursor, _ = run(state, people)

    _, later, _ = run(state, people, cursor, "B-2", now=at(-5000))

    assert split_cursor(later) == (split_cursor(cursor)[0], "B-2")


def test_rows_without_a_watermark_come_once_and_are_told_in_every_run(state: TaskState) -> None:
    people = [person(1, "张三", at(-10)), person(2, "无"), person(3, "无")]
    sent, cursor, findings = run(state, people)
    assert sent == people
    assert [(found.check, found.item, found.rows) for found in findings] == [("watermark", "updated", 2)]

    sent, _, findings = run(state, people, cursor, "B-2", null_rows=2)
    assert sent == []
    assert [found.rows for found in findings] == [2]


def test_a_backfill_brings_its_window_with_both_ends_and_leaves_the_task_as_it_was(state: TaskState) -> None:
    people = [person(number, "王", at(-number)) for number in range(10)]
    _, cursor, _ = run(state, people)
    window = {"after": "2026-03-18T11:59:54", "until": "2026-03-18T11:59:57"}

    sent, new_cursor, _ = run(state, people, batch_id="B-2", **window)
    assert [row[0] for row in sent] == [3, 4, 5, 6]
    assert new_cursor == ""

    assert run(state, people, cursor, "B-3")[0] == []


def test_a_lost_state_sends_the_overlap_again_and_refuses_to_append_it(state: TaskState) -> None:
    people = [person(1, "张三", at(-10)), person(2, "李四", at(-5))]
    _, cursor, _ = run(state, people)
    state.forget()

    assert run(state, people, cursor, "B-2")[0] == [people[1]]
    state.forget()
    with pytest.raises(StateLost):
        run(state, people, cursor, "B-3", delivery=Delivery.APPEND)


def test_rows_in_binary_form_are_known_by_it_and_one_that_changed_comes_alone(state: TaskState) -> None:
    people = [person(number, "王", at(-number)) for number in range(1, 30)]
    sent, cursor, _ = run(state, people, overlap_s=10, is_raw=True)
    assert sent == people

    people[3] = person(4, "改", at(-4))
    sent, cursor, _ = run(state, people, cursor, "B-2", overlap_s=10, is_raw=True)
    assert sent == [person(4, "改", at(-4))]

    assert run(state, people, cursor, "B-3", overlap_s=10, is_raw=True)[0] == []


def test_where_the_form_of_the_rows_changes_the_overlap_is_sent_once_more(state: TaskState) -> None:
    people = [person(1, "张三", at(-60)), person(2, "李四", at(-5)), person(3, "王五", at(-4))]
    _, cursor, _ = run(state, people, is_raw=True)

    sent, cursor, _ = run(state, people, cursor, "B-2", overlap_s=10)
    assert sent == people[1:]

    assert run(state, people, cursor, "B-3", overlap_s=10)[0] == []


def test_rows_in_binary_form_without_a_watermark_come_once_and_a_backfill_brings_its_window(state: TaskState) -> None:
    people = [person(1, "无"), *(person(number, "王", at(-number)) for number in range(2, 9))]
    sent, cursor, findings = run(state, people, is_raw=True)
    assert (sent, [found.rows for found in findings]) == (people, [1])

    window = {"after": "2026-03-18T11:59:54", "until": "2026-03-18T11:59:57"}
    sent, new_cursor, _ = run(state, people, batch_id="B-2", is_raw=True, **window)
    assert ([row[0] for row in sent], new_cursor) == ([3, 4, 5, 6], "")

    assert run(state, people, cursor, "B-3", is_raw=True)[0] == []


@pytest.mark.parametrize("after", ["昨天", "2026-03-18T09:00:00+08:00", "2026-13-01", "12", "0000-01-01#B-1"])
def test_a_cursor_that_is_no_value_of_the_column_is_refused_by_name(state: TaskState, after: str) -> None:
    with pytest.raises(CursorNotUsable) as refused:
        run(state, [], after)

    assert refused.value.details["column"] == "updated"


@pytest.mark.parametrize(
    ("kind", "text", "overlap_s", "floor"),
    [
        (LogicalType.INTEGER, "1000", 10, "990"),
        (LogicalType.INTEGER, "-9223372036854775808", 10, "-9223372036854775808"),
        (LogicalType.DATE, "2026-03-01", 1, "2026-02-28"),
        (LogicalType.DATE, "2026-03-01", 0, "2026-03-01"),
        (LogicalType.DATE, "0001-01-01", 90_000, "0001-01-01"),
        (LogicalType.DATETIME, "1899-12-31T23:59:59.000001", 60, "1899-12-31T23:58:59.000001"),
        (LogicalType.DATETIME, "0001-01-01T00:00:00.000000", 60, "0001-01-01T00:00:00.000000"),
    ],
)
def test_the_overlap_goes_back_seconds_days_or_numbers(
    kind: LogicalType, text: str, overlap_s: int, floor: str
) -> None:
    scale = Scale(Column(name="mark", type=kind))

    assert scale.text(scale.back(scale.number(text), overlap_s)) == floor


def test_only_times_have_a_clock() -> None:
    assert Scale(Column(name="mark", type=LogicalType.INTEGER)).ceiling(NOON) is None
    days = Scale(Column(name="mark", type=LogicalType.DATE))
    assert days.ceiling(NOON) == days.number("2026-03-18")


@given(st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.dates(), st.datetimes()))
def test_the_text_of_a_watermark_reads_back_as_the_same(value: int | date | datetime) -> None:
    kind = LogicalType.INTEGER
    if isinstance(value, date):
        kind = LogicalType.DATETIME if isinstance(value, datetime) else LogicalType.DATE
    scale = Scale(Column(name="mark", type=kind))
    text = value.isoformat() if isinstance(value, date) else str(value)

    assert scale.number(scale.text(scale.number(text))) == scale.number(text)


OVERLAP_S = 20
actions = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 9), st.sampled_from(["张三", "李四"])),
    st.tuples(st.just("commit later"), st.integers(0, 9), st.integers(0, OVERLAP_S)),
    st.tuples(st.just("from the future"), st.integers(0, 9), st.integers(1, 100)),
    st.tuples(st.just("pass"), st.just(0), st.integers(0, 30)),
    st.tuples(st.just("run"), st.just(0), st.sampled_from(["arrives", "arrives", "is lost", "state is lost"])),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(actions, max_size=25), st.booleans())
def test_whatever_happens_each_run_that_arrives_leaves_the_target_with_what_is_committed(
    steps: list[tuple[str, int, Any]], is_raw: bool
) -> None:
    source: dict[int, Row] = {}
    late: list[tuple[int, Row]] = []  # the second in which it is committed, and the row
    target, after, now = Replica(), "", 0
    with tempfile.TemporaryDirectory() as folder:
        state = StateStore(Path(folder), KEY, "international").task("T-1")
        for number, (what, key, more) in enumerate([*steps, ("pass", 0, OVERLAP_S), ("run", 0, "arrives")]):
            match what:
                case "put":
                    source[key] = person(key, more, at(now))
                case "commit later":
                    late.append((now + more, person(100 + len(late), f"迟{number}", at(now))))
                case "from the future":
                    source[key] = person(key, f"未来{number}", at(now + more))
                case "pass":
                    now += more
                    for due, row in [one for one in late if one[0] <= now]:
                        source[row[0]] = row
                        late[late.index((due, row))] = (1 << 40, row)
                case _:
                    if more == "state is lost":
                        state.forget()
                    given: dict[str, Any] = {"now": at(now), "overlap_s": OVERLAP_S, "is_raw": is_raw}
                    committed = list(source.values())
                    sent, cursor, _ = run(state, committed, after, f"B-{number}", **given)
                    if more == "is lost":
                        continue
                    target.rows.update({row[0]: row for row in sent})
                    after = cursor
                    assert target.rows == source
                    assert run(state, committed, after, f"C-{number}", **given)[0] == []
                    # the second run was not delivered: the state of the first has to be there for the next

"""A diff finds inserts, updates and deletes against what was delivered last, and nothing else."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.errors import KeyNotGranted, SourceKeyNotUnique, StateLost
from jinqiao.dataplane.pipeline.modes.diff import DiffCounts, DiffSession
from jinqiao.dataplane.staging.state import StateStore, TaskState
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Mask
from tests.dataplane.exchanges import PEOPLE, order
from tests.dataplane.pipeline.replica import Replica, Row, batches, person

KEY = bytes(range(32))


@pytest.fixture
def state(tmp_path: Path) -> TaskState:
    return StateStore(tmp_path / "state", KEY, "international").task("T-1")


def diff(**changes: Any) -> Any:
    return order(mode=CopyMode.DIFF, **changes)


def run(
    state: TaskState, rows: Sequence[Row], after: str = "", batch_id: str = "B-1", **changes: Any
) -> tuple[list[Row], list[Any], bool, DiffCounts]:
    """One run over these rows: rows handed over, keys told to be gone, complete or not, counts."""
    terms = diff(after=after, **changes)
    with DiffSession(state, terms) as session:
        sent = [tuple(row.values()) for batch in batches(terms, rows) for row in session.filter(batch).to_pylist()]
        gone = [next(iter(row.values())) for batch in session.deletes() for row in batch.to_pylist()]
        assert session.save(batch_id) == batch_id
        return sent, gone, session.complete, session.counts


def test_the_first_run_brings_everything_and_is_complete(state: TaskState) -> None:
    people = [person(1, "张三"), person(2, "李四")]

    assert run(state, people) == (people, [], True, DiffCounts(2, 0, 0, 0))


def test_a_run_without_a_change_moves_nothing(state: TaskState) -> None:
    people = [person(number, f"王{number}") for number in range(10)]
    run(state, people)

    sent, gone, complete, counts = run(state, people[::-1], "B-1", "B-2")

    assert (sent, gone, complete) == ([], [], False)
    assert counts == DiffCounts(0, 0, 0, 10)


def test_inserted_updated_and_deleted_rows_are_found_among_the_others(state: TaskState) -> None:
    run(state, [person(1, "张三"), person(2, "李四"), person(3, "王五")])

    sent, gone, complete, counts = run(state, [person(1, "张三"), person(2, "李四四"), person(4, "赵六")], "B-1", "B-2")

    assert sorted(sent) == [person(2, "李四四"), person(4, "赵六")]
    assert (gone, complete, counts) == ([3], False, DiffCounts(1, 1, 1, 1))


def test_a_batch_that_never_arrived_is_found_again(state: TaskState) -> None:
    run(state, [person(1, "张三")])
    run(state, [person(1, "张三丰"), person(2, "李四")], "B-1", "B-2")

    sent, gone, complete, _ = run(state, [person(1, "张三丰"), person(2, "李四")], "B-1", "B-3")

    assert (sorted(sent), gone, complete) == ([person(1, "张三丰"), person(2, "李四")], [], False)


def test_a_table_that_was_emptied_and_filled_again_is_followed(state: TaskState) -> None:
    run(state, [person(1, "张三"), person(2, "李四")])

    sent, gone, _, _ = run(state, [], "B-1", "B-2")
    assert (sent, sorted(gone)) == ([], [1, 2])

    sent, gone, complete, _ = run(state, [person(2, "李四")], "B-2", "B-3")
    assert (sent, gone, complete) == ([person(2, "李四")], [], False)


def test_all_rows_changed_is_all_rows_updated(state: TaskState) -> None:
    run(state, [person(number, "旧") for number in range(20)])

    sent, gone, _, counts = run(state, [person(number, "新") for number in range(20)], "B-1", "B-2")

    assert (len(sent), gone, counts) == (20, [], DiffCounts(0, 20, 0, 0))


@pytest.mark.parametrize(
    "rows",
    [
        [person(1, "张三"), person(1, "张三")],
        [person(1, "张三"), person(1, "张三丰")],
        [person(5, "新"), person(5, "新")],
        [person(5, "新"), person(5, "另一个")],
    ],
    ids=["known twice", "known and changed", "new twice", "new and different"],
)
def test_two_rows_with_one_key_end_the_run(state: TaskState, rows: list[Row]) -> None:
    run(state, [person(1, "张三"), person(2, "李四")])

    with pytest.raises(SourceKeyNotUnique) as refused:
        run(state, [person(2, "李四"), *rows], "B-1", "B-2")

    assert refused.value.details == {"table": "people", "rows": 1}


def test_two_new_rows_with_one_key_end_the_first_run(state: TaskState) -> None:
    with pytest.raises(SourceKeyNotUnique):
        run(state, [person(1, "张三"), person(2, "李四"), person(1, "张三")])


@pytest.mark.parametrize("harm", ["lost", "row flipped", "end flipped", "shortened", "other key"])
def test_a_state_that_is_lost_or_damaged_makes_the_batch_complete(tmp_path: Path, state: TaskState, harm: str) -> None:
    people = [person(1, "张三"), person(2, "李四")]
    run(state, people)
    file = state.folder / "B-1.jqs"
    data = bytearray(file.read_bytes())
    if harm == "lost":
        file.unlink()
    elif harm.endswith("flipped"):
        data[40 if harm.startswith("row") else -20] ^= 1
        file.write_bytes(data)
    elif harm == "shortened":
        file.write_bytes(data[:-30])
    else:
        state = StateStore(tmp_path / "state", bytes(32), "international").task("T-1")

    assert run(state, people, "B-1", "B-2")[:3] == (people, [], True)


def test_a_lost_state_is_not_appended_a_second_time(state: TaskState) -> None:
    with pytest.raises(StateLost):
        run(state, [person(1, "张三")], "B-0", "B-1", delivery=Delivery.APPEND)


@pytest.mark.parametrize(
    "changes",
    [
        {"items": (*PEOPLE, GrantedItem(item="电话", code="phone", column="phone", type=LogicalType.TEXT))},
        {"target_names": {"name": "full_name"}},
        {"target_table": "another"},
    ],
    ids=["another item", "another name", "another table"],
)
def test_under_other_terms_nothing_counts_as_delivered(state: TaskState, changes: dict[str, Any]) -> None:
    run(state, [person(1, "张三")])
    width = len(changes.get("items", PEOPLE))

    sent, _, complete, _ = run(state, [(*person(1, "张三"), "139")[:width]], "B-1", "B-2", **changes)

    assert (len(sent), complete) == (1, True)


def test_without_a_key_that_is_shown_there_is_no_diff(state: TaskState) -> None:
    hidden = GrantedItem(item="编号", code="id", column="id", type=LogicalType.INTEGER, mask=Mask.HIDDEN)

    with pytest.raises(KeyNotGranted):
        DiffSession(state, diff(items=(hidden, *PEOPLE[1:])))


def test_rows_may_be_filtered_by_several_threads(state: TaskState) -> None:
    people = [person(number, f"王{number}") for number in range(3000)]
    run(state, people)
    changed = [person(number, "改" if number % 100 == 0 else f"王{number}") for number in range(1, 3000)]
    terms = diff(after="B-1")

    with DiffSession(state, terms) as session, ThreadPoolExecutor(4) as pool:
        sent = sum(batch.num_rows for batch in pool.map(session.filter, batches(terms, changed, 100)))

        assert (sent, session.counts) == (29, DiffCounts(0, 29, 1, 2970))


def test_keys_of_several_columns_and_of_text_are_told_as_they_were_delivered(state: TaskState) -> None:
    items = (
        GrantedItem(item="区划", code="division", column="division", type=LogicalType.TEXT),
        GrantedItem(item="姓名", code="name", column="name", type=LogicalType.TEXT),
        GrantedItem(item="日期", code="day", column="day", type=LogicalType.DATE),
    )
    terms = {"items": items, "key_columns": ("name", "division")}
    rows: list[Row] = [("620302", "a\x1fb", None), ("620302a", "b", None), ("620302", "\\N", None), ("\x1e", "", None)]
    run(state, rows, **terms)

    with DiffSession(state, diff(after="B-1", **terms)) as session:
        gone = [row for batch in session.deletes() for row in batch.to_pylist()]

    assert gone == [{"division": division, "name": name} for division, name, _ in rows]


names = st.sampled_from(["张三", "李四", "", "\\N", "a\x1fb\x1e"])
changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), names),
        st.tuples(st.just("delete"), st.integers(0, 9), st.none()),
    ),
    max_size=8,
)
steps = st.lists(st.tuples(changes, st.sampled_from(["arrives", "arrives", "is lost", "state is lost"])), max_size=6)


@settings(max_examples=40, deadline=None)
@given(steps=steps, suite_name=st.sampled_from(["international", "guomi"]))
def test_whatever_changes_and_whatever_is_lost_the_target_shows_the_source_after_each_run_that_arrives(
    steps: list[tuple[list[tuple[str, int, Any]], str]], suite_name: str
) -> None:
    source: dict[int, Row] = {}
    target, after = Replica(), ""
    with tempfile.TemporaryDirectory() as folder:
        state = StateStore(Path(folder), KEY[: 32 if suite_name == "international" else 16], suite_name).task("T-1")
        for number, (changed, fate) in enumerate(steps):
            for what, key, name in changed:
                if what == "put":
                    source[key] = person(key, name)
                else:
                    source.pop(key, None)
            if fate == "state is lost":
                state.forget()
            terms = diff(after=after)
            with DiffSession(state, terms) as session:
                rows = [session.filter(batch) for batch in batches(terms, source.values())]
                deletes = list(session.deletes())
                cursor = session.save(f"B-{number}")
                if fate != "is lost":
                    target.take(rows, deletes, complete=session.complete)
                    after = cursor

                    assert target.rows == source

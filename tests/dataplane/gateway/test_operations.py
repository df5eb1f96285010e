"""Batch, verification, list and count, with the same answers from SQLite, PostgreSQL and MariaDB."""

import asyncio
import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pyarrow as pa
import pytest

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import Connection, Mask, Operator, RowCondition
from tests.dataplane.gateway.engines import ALL, ITEMS, table_of, world_of
from tests.dataplane.gateway.world import ANN, PURPOSE, SERVICE, Caller, World, talk

Source = tuple[Connection, str, Callable[[str], None]]
OTHER = "62030219900101002X"
OUTSIDER = "620321000000000001"  # of another county: the row filter leaves it out
NOBODY = "620302190001019999"
REASON = {"purpose": PURPOSE, "case_number": "GZF-1"}
EVERY_OPERATION = tuple(Operation)
FILTER_ITEMS = ("name", "whole", "amount", "share", "yes", "day", "at")


def prepared(tmp_path: Path, source: Source, **changes: Any) -> World:
    return world_of(
        tmp_path,
        source,
        **{"operations": EVERY_OPERATION, "filter_items": FILTER_ITEMS, "calls_per_minute": 60_000, **changes},
    )


async def ask(
    caller: Caller, operation: str, body: dict[str, Any] | bytes, query: str = "", **kwargs: Any
) -> httpx.Response:
    content = {**REASON, **body} if isinstance(body, dict) else body
    path = f"/gateway/v1/services/{SERVICE}/{operation}{query}"
    return await caller.ask(content, path=path, **kwargs)


def more_rows(source: Source, rows: list[tuple[str, str, int | None, str | None]]) -> None:
    """Rows (id_no, name, whole, day) within the row filter."""
    connection, _, run = source
    values = ", ".join(
        f"('{number}', '{name}', {'NULL' if whole is None else whole}, NULL, NULL, NULL,"
        f" {'NULL' if day is None else repr(day)}, NULL, NULL, '620302', 'secret')"
        for number, name, whole, day in rows
    )
    run(f"INSERT INTO {table_of(connection.engine)} VALUES {values}")


def without_the_first(source: Source) -> None:
    connection, _, run = source
    run(f"DELETE FROM {table_of(connection.engine)}")


# ── batch ──


def test_a_batch_answers_each_key_in_its_order(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        by = [{"id_no": number} for number in (OTHER, NOBODY, ANN, OUTSIDER, ANN)]
        answer = (await ask(caller, "batch", {"by": by, "items": ["id_no", "whole"]})).json()
        assert [[row["id_no"] for row in result["rows"]] for result in answer["results"]] == [
            [OTHER],
            [],
            [ANN],
            [],
            [ANN],
        ]
        assert answer["count"] == 3
        assert [result["truncated"] for result in answer["results"]] == [False] * 5

    talk(prepared(tmp_path, source), conversation)


def test_a_file_of_keys_is_answered_as_csv_with_the_number_of_each_key(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        query = "?" + urlencode({"items": "name,whole", **REASON}, quote_via=quote)
        response = await ask(
            caller,
            "batch",
            f"id_no\r\n{NOBODY}\r\n{ANN}\r\n".encode(),
            query,
            content_type="text/csv",
            headers={"Accept": "text/csv"},
        )
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/csv")
        assert list(csv.reader(io.StringIO(response.text))) == [["_key", "name", "whole"], ["2", "安小雅", "42"]]
        assert len(response.headers["jinqiao-call-id"]) == 32

    talk(prepared(tmp_path, source), conversation)


def test_one_wrong_key_of_a_batch_refuses_all_of_it(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for by in ([{"id_no": ANN}, {"name": "安小雅"}], [{"id_no": ANN}, {"id_no": 1.5}], [{"id_no": ANN}, {}], []):
            response = await ask(caller, "batch", {"by": by, "items": ["name"]})
            assert response.status_code == 400
            assert "安小雅" not in response.text

    talk(prepared(tmp_path, source), conversation)


def test_a_batch_above_the_cap_is_told_how_many_it_may_hold(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await ask(caller, "batch", {"by": [{"id_no": ANN}] * 4, "items": ["name"]})
        assert (response.status_code, response.json()["code"]) == (400, "gateway.batch.too_large")
        assert response.json()["details"] == {"allowed": 3}

    talk(prepared(tmp_path, source, batch_cap=3), conversation)


# ── verification ──


@pytest.mark.parametrize("told", [True, False])
def test_a_verification_says_yes_partial_or_no_and_no_value(tmp_path: Path, source: Source, told: bool) -> None:
    operations = EVERY_OPERATION if told else (Operation.VERIFY,)
    right = {
        "name": "安小雅",
        "whole": 42,
        "amount": "12.5",
        "yes": True,
        "day": "2026-02-28",
        "bytes": "00ff",
        "share": "0.1",
    }
    wrong = {
        "name": "安小",
        "whole": 43,
        "amount": "12.51",
        "yes": False,
        "day": "2026-02-27",
        "bytes": "00fe",
        "share": "0.2",
    }

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def verdict(number: str, claims: dict[str, Any]) -> dict[str, Any]:
            response = await ask(caller, "verify", {"by": {"id_no": number}, "claims": claims})
            assert response.status_code == 200, response.text
            found: dict[str, Any] = response.json()
            assert found.keys() == {"call_id", "result", *(["agrees"] if told else [])}
            return found

        for code, value in right.items():
            assert (await verdict(ANN, {code: value}))["result"] == "yes", code
            assert (await verdict(ANN, {code: wrong[code]}))["result"] == "no", code
        assert (await verdict(ANN, right))["result"] == "yes"
        mixed = await verdict(ANN, {**wrong, "name": "安小雅"})
        assert mixed["result"] == "partial"
        if told:
            assert mixed["agrees"] == {code: code == "name" for code in wrong}
        for nobody in (NOBODY, OUTSIDER):
            first, second = await verdict(nobody, right), await verdict(ANN, wrong)
            assert {**first, "call_id": ""} == {**second, "call_id": ""}

    talk(prepared(tmp_path, source, operations=operations), conversation)


def test_a_masked_item_is_verified_as_far_as_its_mask_shows_it(tmp_path: Path, source: Source) -> None:
    masks = {"name": Mask.NAME, "whole": Mask.HIDDEN}
    items = tuple(replace(item, mask=masks.get(item.code, Mask.NONE)) for item in ITEMS)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def result(**claims: Any) -> Any:
            return (await ask(caller, "verify", {"by": {"id_no": ANN}, "claims": claims})).json()

        assert (await result(name="安大明"))["result"] == "yes"  # 安** is what a query shows too
        assert (await result(name="薄小雅"))["result"] == "no"
        refused = await result(whole=42)
        assert refused["code"] == "gateway.claims.not_granted"
        assert "whole" not in refused["details"]["allowed"]

    talk(prepared(tmp_path, source, grant={"items": items}), conversation)


# ── list ──


async def pages(caller: Caller, size: int, **body: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list."""
    found, after = [], ""
    while True:
        page = {"size": size, **({"after": after} if after else {})}
        response = await ask(caller, "list", {**body, "page": page})
        assert response.status_code == 200, response.text
        answer = response.json()
        found.append(answer["rows"])
        if answer["next"] is None:
            return found
        after = answer["next"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_hold_every_row_once_in_the_order_asked_for(tmp_path: Path, source: Source, size: int) -> None:
    without_the_first(source)
    rows: list[tuple[str, str, int | None, str | None]] = [
        ("p01", "甲", 3, "2026-01-02"),
        ("p02", "甲", 3, "2026-01-02"),
        ("p03", "甲", 3, "2026-01-02"),
        ("p04", "乙", None, "2026-01-01"),
        ("p05", "乙", None, None),
        ("p06", "b", 1, None),
        ("p07", "B", 1, "2026-01-05"),
        ("p08", "", 2, "2026-01-03"),
    ]
    more_rows(source, rows)
    more_rows(source, rows[:2])  # twice the same row: a table without a key

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for order in (
            [],
            [{"item": "whole"}],
            [{"item": "whole", "direction": "desc"}, {"item": "day"}],
            [{"item": "day", "direction": "desc"}, {"item": "name"}],
        ):
            found = await pages(caller, size, items=["id_no", "whole", "day"], order=order)
            assert all(len(page) <= size for page in found)
            flat = [row for page in found for row in page]
            assert sorted(row["id_no"] for row in flat) == sorted(r[0] for r in [*rows, *rows[:2]])
            for one in order[:1]:
                values = [row[one["item"]] for row in flat]
                given = [value for value in values if value is not None]
                assert values == given + [None] * (len(values) - len(given))
                assert given == sorted(given, reverse=one.get("direction") == "desc")

    talk(prepared(tmp_path, source), conversation)


FILTERS: list[tuple[list[dict[str, Any]], int]] = [
    ([], 2),
    ([{"item": "name", "op": "eq", "value": "安小雅"}], 1),
    ([{"item": "name", "op": "prefix", "value": "安"}], 1),
    ([{"item": "name", "op": "prefix", "value": "%"}], 0),
    ([{"item": "name", "op": "in", "values": ["安小雅", "无"]}], 1),
    ([{"item": "name", "op": "eq", "value": "' OR '1'='1"}], 0),
    ([{"item": "whole", "op": "ge", "value": 0}], 1),
    ([{"item": "whole", "op": "le", "value": 100}], 2),
    ([{"item": "whole", "op": "ge", "value": -1}, {"item": "whole", "op": "le", "value": 41}], 1),
    ([{"item": "amount", "op": "eq", "value": "12.5"}], 1),
    ([{"item": "amount", "op": "ge", "value": "12.501"}], 0),
    ([{"item": "share", "op": "le", "value": 0.5}], 1),
    ([{"item": "yes", "op": "eq", "value": True}], 1),
    ([{"item": "day", "op": "ge", "value": "2026-02-28"}], 1),
    ([{"item": "at", "op": "le", "value": "2026-03-01T09:29:59"}], 0),
]


def test_filters_find_the_same_in_lists_and_counts(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for conditions, count in FILTERS:
            listed = (await ask(caller, "list", {"items": ["name"], "filter": conditions})).json()
            counted = (await ask(caller, "count", {"filter": conditions})).json()
            assert (conditions, listed.get("count"), counted.get("count")) == (conditions, count, count)

    talk(prepared(tmp_path, source), conversation)


def test_the_row_filter_of_the_grant_and_the_case_hold_in_every_operation(tmp_path: Path, source: Source) -> None:
    prefix = (RowCondition(column="area", operator=Operator.STARTS_WITH, values=("6203",)),)
    connection, _, run = source
    run(
        f"INSERT INTO {table_of(connection.engine)} VALUES ('p1', '甲', 1, NULL, NULL, NULL, NULL, NULL, NULL, '620399', 'case-1')"
    )
    run(
        f"INSERT INTO {table_of(connection.engine)} VALUES ('p2', '乙', 1, NULL, NULL, NULL, NULL, NULL, NULL, '620399', 'case-2')"
    )
    run(
        f"INSERT INTO {table_of(connection.engine)} VALUES ('p3', '丙', 1, NULL, NULL, NULL, NULL, NULL, NULL, '620399', 'CASE-1')"
    )
    run(
        f"INSERT INTO {table_of(connection.engine)} VALUES ('p4', '丁', 1, NULL, NULL, NULL, NULL, NULL, NULL, '629903', 'case-1')"
    )

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        def case(number: str, **body: Any) -> dict[str, Any]:
            return {**body, "case_number": number}

        for number, names in (("case-1", ["甲"]), ("case-2", ["乙"]), ("case", []), ("case-1 ", []), ("case-%", [])):
            listed = (await ask(caller, "list", case(number, items=["name"]))).json()
            assert (number, [row["name"] for row in listed["rows"]]) == (number, names)
            assert (await ask(caller, "count", case(number))).json()["count"] == len(names)
        for who, found in (("p1", 1), ("p2", 0), ("p3", 0), ("p4", 0)):
            asked = case("case-1", by={"id_no": who}, items=["name"])
            assert (await ask(caller, "query", asked)).json()["count"] == found
            batch = case("case-1", by=[{"id_no": who}] * 2, items=["name"])
            assert (await ask(caller, "batch", batch)).json()["count"] == 2 * found
            verdict = await ask(caller, "verify", case("case-1", by={"id_no": who}, claims={"whole": 1}))
            assert verdict.json()["result"] == ("yes" if found else "no")
        assert (await ask(caller, "list", case("", items=["name"]))).json()["code"] == "gateway.case_number.missing"

    grant = {"row_filter": prefix, "case_number_required": False}
    talk(prepared(tmp_path, source, grant=grant, case_column="note"), conversation)


def test_what_may_not_be_filtered_is_not_ordered_by_either(tmp_path: Path, source: Source) -> None:
    items = tuple(replace(item, mask=Mask.NAME if item.code == "name" else Mask.NONE) for item in ITEMS)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for code in ("name", "id_no", "area", "note", "bytes", "1", "whole; --"):
            for body in ({"filter": [{"item": code, "op": "eq", "value": "x"}]}, {"order": [{"item": code}]}):
                refused = (await ask(caller, "list", {"items": ["whole"], **body})).json()
                assert (code, refused["code"]) == (code, "gateway.filter.not_allowed")
                assert refused["details"]["allowed"] == "whole、amount、share、yes、day、at"

    # the snapshot names a masked item and an ungranted one as filters: the gateway does not believe it
    talk(prepared(tmp_path, source, grant={"items": items}, filter_items=(*FILTER_ITEMS, "area")), conversation)


def test_a_cursor_is_of_one_question_and_cannot_be_made_up(tmp_path: Path, source: Source) -> None:
    more_rows(source, [(f"p{n}", "甲", n, None) for n in range(5)])

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        asked = {"items": ["name"], "order": [{"item": "whole"}], "page": {"size": 2}}
        cursor = (await ask(caller, "list", asked)).json()["next"]
        altered = cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:]
        for changes in (
            {"page": {"after": altered}},
            {"page": {"after": cursor[:-4]}},
            {"page": {"after": "x"}},
            {"page": {"after": cursor}, "order": [{"item": "whole", "direction": "desc"}]},
            {"page": {"after": cursor}, "filter": [{"item": "whole", "op": "ge", "value": 0}]},
        ):
            refused = await ask(caller, "list", {**asked, **changes})
            assert (refused.status_code, refused.json()["code"]) == (400, "gateway.page.cursor")
        assert (await ask(caller, "list", {**asked, "page": {"after": cursor}})).status_code == 200
        assert "甲" not in cursor

    talk(prepared(tmp_path, source), conversation)


def test_a_page_holds_no_more_than_the_row_cap(tmp_path: Path, source: Source) -> None:
    more_rows(source, [(f"p{n}", "甲", n, None) for n in range(5)])

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answer = (await ask(caller, "list", {"items": ["name"]})).json()
        assert (answer["count"], answer["next"] is None) == (3, False)
        refused = (await ask(caller, "list", {"items": ["name"], "page": {"size": 4}})).json()
        assert (refused["code"], refused["details"]) == ("gateway.page.too_large", {"allowed": 3})

    talk(prepared(tmp_path, source, row_cap=3), conversation)


def test_small_counts_are_told_as_fewer_than(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def count(*conditions: dict[str, Any]) -> Any:
            answer = (await ask(caller, "count", {"filter": list(conditions)})).json()
            return answer["count"], answer.get("fewer_than")

        assert await count() == (None, 3)
        assert await count({"item": "whole", "op": "eq", "value": 42}) == (None, 3)
        assert await count({"item": "whole", "op": "eq", "value": 77}) == (0, None)
        more_rows(source, [("p9", "甲", 9, None)])
        assert await count() == (3, None)

    talk(prepared(tmp_path, source, smallest_count=3), conversation)


def test_csv_and_arrow_hold_what_json_holds(tmp_path: Path, source: Source) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for operation, body in (
            ("query", {"by": {"id_no": ANN}, "items": ALL}),
            ("list", {"items": ALL, "filter": [{"item": "whole", "op": "eq", "value": 42}]}),
        ):
            said = (await ask(caller, operation, body)).json()["rows"]
            as_csv = await ask(caller, operation, body, headers={"Accept": "text/csv;q=0.9, text/plain"})
            (row,) = csv.DictReader(io.StringIO(as_csv.text))
            assert row == {
                name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in said[0].items()
            }
            as_arrow = await ask(caller, operation, body, headers={"Accept": "application/vnd.apache.arrow.stream"})
            table = pa.ipc.open_stream(as_arrow.content).read_all()
            assert table.column_names == ALL
            assert table.schema.field("day").type == pa.date32()
            assert str(table.to_pylist()[0]["day"]) == said[0]["day"]
        refused = await ask(caller, "count", {}, headers={"Accept": "text/csv"})
        assert (refused.status_code, refused.json()["code"]) == (406, "gateway.request.accept")

    talk(prepared(tmp_path, source), conversation)


def test_thirty_lists_and_counts_at_once_do_not_mix(tmp_path: Path, source: Source) -> None:
    more_rows(source, [(f"p{n}", f"n{n}", 1000 + n, None) for n in range(30)])

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def one(n: int) -> None:
            conditions = [{"item": "whole", "op": "eq", "value": 1000 + n}]
            listed = (await ask(caller, "list", {"items": ["name"], "filter": conditions})).json()
            assert listed["rows"] == [{"name": f"n{n}"}]
            assert (await ask(caller, "count", {"filter": conditions})).json()["count"] == 1

        await asyncio.gather(*(one(n) for n in range(30)))

    talk(prepared(tmp_path, source), conversation)

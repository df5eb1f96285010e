"""A paged JSON interface as a source: every way of paging, every value exact, nothing that contradicts itself is taken."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.http_json import HttpSource
from jinqiao.dataplane.connectors.http_options import at
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ColumnMissing,
    ConnectionOptionWrong,
    EngineUnknown,
    HostUnreachable,
    HttpAnswerNotValid,
    HttpStatusRefused,
    PermissionDenied,
    RunStopped,
    SourceBusy,
    SourceChanged,
    TableMissing,
    TlsFailed,
)
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.hosts import HostNotAllowed
from jinqiao.kernel.ports import free_port
from tests.certificates import Authority
from tests.dataplane.connectors.test_round_trips import COLUMNS, ROWS, table_of
from tests.dataplane.exchanges import canonical, read_table
from tests.web_servers import Answer, Asked, WebServer, serving

LOCAL = ("127.0.0.0/8",)
FIELDS = {"id": "integer", "name": "text"}
PAGE = {"kind": "page", "parameter": "page"}
SECRET = "geheim-密"


def people(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"王{number}"} for number in range(first, last)]


def answer(document: Any, **headers: str) -> Answer:
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json", **headers})


def query(asked: Asked) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(asked.path).query).items()}


def connection(server: WebServer, table: dict[str, Any] | None = None, **changes: Any) -> Connection:
    options = {"tables": {"people": {"path": "/v1/people", "fields": FIELDS} | (table or {})}} | changes.pop(
        "options", {}
    )
    return Connection(engine=Engine.HTTP, **({"database": server.url("/"), "options": options} | changes))


def source(server: WebServer, table: dict[str, Any] | None = None, **changes: Any) -> HttpSource:
    """A source whose waits take no time; `waits` of the source collects them."""
    waits: list[float] = changes.pop("waits", [])
    password = changes.pop("password", None)
    return HttpSource(connection(server, table, **changes), password, allowed=LOCAL, sleep=waits.append)


def ids(opened: HttpSource, **plan: Any) -> list[int]:
    batches = list(opened.read(ReadPlan(**({"table": "people", "columns": ("id",)} | plan))))
    return [int(value) for batch in batches for value in batch.column("id").to_pylist()]


def by_number(asked: Asked) -> Answer:
    page = int(query(asked).get("page", "1"))
    return answer({"data": {"items": people(page * 10, page * 10 + 10) if page <= 3 else []}})


# --- ways of paging ---------------------------------------------------------------------------------------------------


def test_one_answer_may_be_all() -> None:
    with serving(lambda asked: answer(people(0, 5))) as server:
        assert ids(source(server)) == [0, 1, 2, 3, 4]
        assert urlsplit(server.asked[0].path).path == "/v1/people"


def test_pages_by_number_end_with_an_empty_one() -> None:
    with serving(by_number) as server:
        opened = source(
            server,
            {"rows": "/data/items", "paging": PAGE | {"size": 10, "size_parameter": "n"}, "query": {"live": "是"}},
        )

        assert ids(opened) == list(range(10, 40))
        assert opened.snapshot == "pages"
        assert [query(asked) for asked in server.asked][-1] == {"page": "4", "n": "10", "live": "是"}


def test_a_short_page_is_not_the_end() -> None:
    def short(asked: Asked) -> Answer:
        begin = int(query(asked)["offset"])
        return answer({"rows": people(begin, min(begin + 3, 10)), "total": 10})

    paging = {"kind": "offset", "parameter": "offset", "size": 100, "size_parameter": "limit"}
    with serving(short) as server:
        assert ids(source(server, {"rows": "/rows", "paging": paging})) == list(range(10))
        assert ids(source(server, {"rows": "/rows", "paging": paging | {"total": "/total"}})) == list(range(10))
        assert len(server.asked) == 5 + 4  # with a total the empty page is not asked for


def test_pages_by_cursor_end_where_there_is_none() -> None:
    def cursors(asked: Asked) -> Answer:
        place = {"": 0, "a=&b": 1, "c": 2}[query(asked).get("after", "")]
        return answer({"rows": people(place * 2, place * 2 + 2), "meta": {"next": ["a=&b", "c", None][place]}})

    paging = {"kind": "cursor", "parameter": "after", "next": "/meta/next"}
    with serving(cursors) as server:
        assert ids(source(server, {"rows": "/rows", "paging": paging})) == list(range(6))


@pytest.mark.parametrize("place", ["/next", "header"])
def test_pages_by_link_are_followed_within_the_host(place: str) -> None:
    def linked(asked: Asked) -> Answer:
        number = int(query(asked).get("p", "0"))
        following = f"/v1/people?p={number + 1}" if number < 2 else ""
        headers = {"Link": f'<{following}>; rel="next", </x>; rel="last"'} if following and place == "header" else {}
        return answer({"rows": people(number, number + 1), "next": following or None}, **headers)

    with serving(linked) as server:
        assert ids(source(server, {"rows": "/rows", "paging": {"kind": "link", "next": place}})) == [0, 1, 2]


@pytest.mark.parametrize(
    "following", ["http://127.0.0.1:1/x", "https://127.0.0.1/", "//169.254.169.254/", "http://u:p@127.0.0.1/"]
)
def test_a_next_page_on_another_host_is_refused(following: str) -> None:
    with serving(lambda asked: answer({"rows": people(0, 1), "next": following})) as server:
        with pytest.raises(HttpAnswerNotValid):
            ids(source(server, {"rows": "/rows", "paging": {"kind": "link", "next": "/next"}}))
        assert len(server.asked) == 1


# --- what contradicts itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("totals", [(20, 21, 21), (20, 19, 19), (25, 25, 25), (19, 19, 19)])
def test_a_total_that_changes_or_is_not_met_is_refused_and_tried_again(totals: tuple[int, ...]) -> None:
    def pages(asked: Asked) -> Answer:
        page = int(query(asked)["page"])
        return answer({"rows": people(page * 10, page * 10 + 10) if page <= 2 else [], "total": totals[page - 1]})

    with serving(pages) as server, pytest.raises(SourceChanged) as caught:
        ids(source(server, {"rows": "/rows", "paging": PAGE | {"total": "/total"}}))
    assert caught.value.retryable


def test_an_interface_that_gives_one_page_for_ever_is_refused() -> None:
    for total in ({}, {"total": "/total"}):
        with (
            serving(lambda asked: answer({"rows": people(0, 10), "total": 20})) as server,
            pytest.raises(HttpAnswerNotValid),
        ):
            ids(source(server, {"rows": "/rows", "paging": PAGE | total}))
    with (
        serving(lambda asked: answer({"rows": people(0, 1), "next": "same"})) as server,
        pytest.raises(HttpAnswerNotValid),
    ):
        ids(source(server, {"rows": "/rows", "paging": {"kind": "cursor", "parameter": "c", "next": "/next"}}))


def test_pages_and_bytes_have_an_end() -> None:
    def endless(asked: Asked) -> Answer:
        begin = int(query(asked)["page"]) * 10
        return answer(people(begin, begin + 10))

    with serving(endless) as server:
        for limit in ({"max_pages": 3}, {"max_mb": 0.001}):
            with pytest.raises(HttpAnswerNotValid):
                ids(source(server, {"paging": PAGE}, options=limit))
            assert len(server.asked) < 20


def test_an_answer_that_unpacks_to_more_than_allowed_is_refused() -> None:
    bomb = gzip.compress(b"[" + b" " * 5_000_000 + b"]")
    with (
        serving(lambda asked: Answer(200, bomb, {"Content-Encoding": "gzip"})) as server,
        pytest.raises(HttpAnswerNotValid),
    ):
        ids(source(server, options={"max_mb": 1}))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"{", b'{"rows": 1}', b"[1]", b"[[]]", b'[{"id": 1, "id": 2, "name": ""}]', b'[{"id": NaN, "name": ""}]',
        b'[{"id": [1], "name": ""}]', b'[{"id": {}, "name": ""}]', b'[{"id": 1}]', b"[{}]", b"\xff\xfe[", b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused(body: bytes) -> None:
    with serving(lambda asked: Answer(200, body)) as server, pytest.raises(HttpAnswerNotValid) as caught:
        ids(source(server), columns=("id", "name"))
    for language in ("zh", "en"):
        assert "{" not in caught.value.text(language).message


# --- values -----------------------------------------------------------------------------------------------------------


def test_numbers_keep_every_digit() -> None:
    body = '[{"n": 12345678901234567890.123456789000, "i": 9007199254740993, "d": 0.1, "b": true, "t": "1", "x": null}]'
    fields = {"n": "decimal(38,18)", "i": "integer", "d": "double", "b": "boolean", "t": "text", "x": "date"}
    columns = [
        Column(name="n", type=LogicalType.DECIMAL, precision=38, scale=18), Column(name="i", type=LogicalType.INTEGER),
        Column(name="d", type=LogicalType.DOUBLE), Column(name="b", type=LogicalType.BOOLEAN),
        Column(name="t", type=LogicalType.TEXT), Column(name="x", type=LogicalType.DATE),
    ]  # fmt: skip
    with serving(lambda asked: Answer(200, body.encode())) as server:
        opened = source(server, {"fields": fields | {"x": {"type": "date", "optional": True}}})
        (row,) = read_table(opened, "people", columns).to_pylist()
        assert [column.type for column in opened.schema("people").columns] == [column.type for column in columns]

    assert [str(value) for value in row.values()] == [
        "12345678901234567890.123456789000000000",
        "9007199254740993",
        "0.1",
        "True",
        "1",
        "None",
    ]


def written(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=ROWS)
def test_every_value_comes_as_it_was_written(rows: list[dict[str, Any]]) -> None:
    table = table_of(rows)
    fields = {
        column.name: {
            "type": f"decimal({column.precision},{column.scale})"
            if column.type is LogicalType.DECIMAL
            else column.type.value,
            "optional": True,
        }
        for column in COLUMNS
    }
    shown = [
        {
            name: value
            if isinstance(value, str | bool | int | float | None)
            else written(value)
            if isinstance(value, bytes)
            else str(value)
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
    with serving(lambda asked: answer(shown)) as server:
        read = read_table(source(server, {"fields": fields, "key": ["编号"]}), "people", COLUMNS)

    assert canonical(read, COLUMNS) == canonical(table, COLUMNS)


def test_values_may_lie_deeper_in_a_row_and_answers_in_gb18030() -> None:
    body = json.dumps([{"person": {"id": 7}, "a/b": ["x", "金桥𠮷"]}], ensure_ascii=False).encode("gb18030")
    fields = {"id": {"type": "integer", "at": "/person/id"}, "name": {"type": "text", "at": "/a~1b/1"}}
    with serving(lambda asked: Answer(200, body, {"Content-Type": "application/json; charset=gbk"})) as server:
        batches = list(source(server, {"fields": fields}).read(ReadPlan(table="people", columns=("name", "id"))))

    assert batches[0].to_pylist() == [{"name": "金桥𠮷", "id": "7"}]


def test_filters_order_and_batches_hold_here_too() -> None:
    condition = RowCondition(column="id", operator=Operator.AT_LEAST, values=("15",))
    with serving(by_number) as server:
        opened = source(server, {"rows": "/data/items", "paging": PAGE, "key": ["id"]})
        assert ids(opened, row_filter=(condition,)) == list(range(15, 40))
        assert ids(opened, row_filter=(condition,), order_by=("name",)) == list(range(15, 40))
        sizes = [batch.num_rows for batch in opened.read(ReadPlan(table="people", columns=("id",), batch_rows=4))]
        assert max(sizes) == 4
        assert [column.primary_key for column in opened.schema("people").columns] == [True, False]
        for plan, error in (({"table": "nobody"}, TableMissing), ({"columns": ("nope",)}, ColumnMissing)):
            with pytest.raises(error):
                ids(opened, **plan)


# --- keys, troubles, waits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        ({"kind": "bearer"}, ("authorization", "Bearer geheim")),
        ({"kind": "basic"}, ("authorization", "Basic YW5uOmdlaGVpbQ==")),
        ({"kind": "header", "name": "X-Key"}, ("x-key", "geheim")),
    ],
)
def test_the_password_goes_where_the_interface_wants_it(auth: dict[str, str], shown: tuple[str, str]) -> None:
    with serving(lambda asked: answer(people(0, 1))) as server:
        assert source(server, options={"auth": auth}, user="ann", password="geheim").test() == "HTTP JSON"
        assert server.asked[0].headers[shown[0]] == shown[1]
        assert "geheim" not in server.asked[0].path


def test_a_key_in_the_query_never_shows_in_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(lambda asked: Answer(418)) as server:
        opened = source(server, options={"auth": {"kind": "query", "name": "key"}}, password=SECRET)
        with pytest.raises(HttpStatusRefused) as caught:
            opened.test()
        assert query(server.asked[0])["key"] == SECRET
    assert "geheim" not in f"{caught.value} {caught.value.details} {caplog.text}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationFailed),
        (403, PermissionDenied),
        (404, TableMissing),
        (400, HttpStatusRefused),
        (204, HttpStatusRefused),
    ],
)
def test_each_status_has_its_own_error(status: int, error: type[JinqiaoError]) -> None:
    with serving(lambda asked: Answer(status, b"")) as server:
        with pytest.raises(error):
            ids(source(server))
        assert len(server.asked) == 1


def test_what_may_mend_itself_is_tried_again_with_longer_waits() -> None:
    troubles = iter([Answer(503), Answer(500), Answer(429, b"", {"Retry-After": "7"})])
    waits: list[float] = []
    with serving(lambda asked: next(troubles, None) or answer(people(0, 2))) as server:
        assert ids(source(server, waits=waits)) == [0, 1]

    assert sum(waits) == pytest.approx(0.5 + 1 + 7)


def test_a_date_to_try_again_at_is_honoured_and_one_too_far_ends_the_reading() -> None:
    def later(seconds: int) -> Answer:
        return Answer(
            429, b"", {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)}
        )

    waits: list[float] = []
    troubles = iter([later(100)])
    with serving(lambda asked: next(troubles, None) or answer(people(0, 1))) as server:
        assert ids(source(server, waits=waits)) == [0]
        assert 90 < sum(waits) <= 101
    with serving(lambda asked: later(4000)) as server:
        with pytest.raises(SourceBusy) as caught:
            ids(source(server))
        assert caught.value.retryable
        assert len(server.asked) == 1


def test_tries_end_and_a_stop_ends_the_waiting() -> None:
    with serving(lambda asked: Answer(503)) as server:
        with pytest.raises(SourceBusy):
            ids(source(server, options={"retries": 2}))
        assert len(server.asked) == 3
        stops = iter([False, False, True])
        with pytest.raises(RunStopped):
            ids(source(server), stop=lambda: next(stops, True))


def test_nobody_there_and_no_trust_are_said(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    closed = WebServer(free_port(), "http", [], [])
    with pytest.raises(HostUnreachable):
        ids(source(closed, options={"retries": 0}))
    with serving(lambda asked: answer(people(0, 1)), certificate=authority.issue(tmp_path, "127.0.0.1")) as server:
        assert ids(source(server, options={"ca": str(authority.file)})) == [0]
        for options in ({}, {"ca": str(tmp_path / "none.pem")}):
            with pytest.raises(TlsFailed):
                ids(source(server, options=options))


def test_only_hosts_of_the_installations_list_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: answer(people(0, 1))) as server:
        for setting in ("", "api.example.cn"):
            monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", setting)
            with open_source(connection(server)) as opened, pytest.raises(HostNotAllowed):
                opened.test()
        assert server.asked == []
        monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "127.0.0.1/32")
        with open_source(connection(server)) as opened:
            assert opened.test() == "HTTP JSON"


def test_nothing_is_delivered_to_an_interface() -> None:
    with pytest.raises(EngineUnknown):
        open_target(Connection(engine=Engine.HTTP, database="http://127.0.0.1/"))


@pytest.mark.parametrize(
    "options",
    [
        {}, {"tables": {}}, {"tables": []}, {"tables": {"t": 1}}, {"tables": {"t": {"path": "/x"}}}, {"typo": 1},
        *(
            {"tables": {"t": {"path": "/x", "fields": {"a": "text"}} | change}}
            for change in (
                {"path": "x"}, {"path": "//evil/x"}, {"path": "/../x"}, {"path": "/x?y"}, {"fields": {"a": "guess"}}, {"fields": []},
                {"key": ["b"]}, {"rows": "data"}, {"paging": {"kind": "magic"}}, {"paging": {"kind": "page"}},
                {"paging": {"kind": "cursor", "parameter": "c"}}, {"paging": {"kind": "page", "parameter": "p", "first": "1"}},
                {"paging": {"kind": "page", "parameter": "p", "size_parameter": "n"}}, {"query": "x"},
            )
        ),
        *(
            {"tables": {"t": {"path": "/x", "fields": {"a": "text"}}}} | change
            for change in ({"auth": {"kind": "magic"}}, {"auth": {"kind": "header"}}, {"timeout_s": 0}, {"retries": -1}, {"max_mb": "1"})
        ),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConnectionOptionWrong) as caught:
        open_source(Connection(engine=Engine.HTTP, database="http://127.0.0.1/", options=options))
    assert caught.value.details["option"]


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.text(max_size=3), lambda inner: st.dictionaries(st.text("a/~0b", max_size=3), inner, max_size=3)
    ),
    st.data(),
)
def test_a_pointer_leads_to_every_place_of_a_document(document: Any, data: st.DataObject) -> None:
    pointer, found = "", document
    while isinstance(found, dict) and found:
        name = data.draw(st.sampled_from(sorted(found)))
        pointer += "/" + name.replace("~", "~0").replace("/", "~1")
        found = found[name]

    assert at(document, pointer, missing=...) == found
    assert at(document, pointer + "/no-such-name", missing=...) is ...

"""No grant, no byte: every way to data without a grant, or beyond one, is refused and written down, and no word of it leaks.

What is held here: that in a whole city, after runs and calls, granted words stand in the consumer's database and in the answer
and nowhere else, ungranted ones nowhere at all (pages of every role, exports, files of all homes, relay, tables, trail, log);
that whoever tries another department's things is refused and written down. What is held elsewhere:

| way to data                              | test                                                                                    |
|------------------------------------------|-----------------------------------------------------------------------------------------|
| a run without a live grant               | exchange/test_runs: test_a_run_does_not_start_without_a_live_grant, …past_its_last_day… |
| an order whose grant ended meanwhile     | exchange/test_runs: test_an_order_whose_grant_was_revoked_meanwhile_is_not_handed_out   |
| a batch whose grant ended before delivery| exchange/test_runs: test_a_batch_whose_grant_was_suspended_during_extraction_…          |
| a batch with more columns than granted   | exchange/test_runs: test_columns_beyond_the_grant_are_never_delivered                   |
| a target of another department           | exchange/test_tasks: test_data_is_delivered_to_the_consumer_only, …moved_to_another…    |
| a command forged, altered, or for another| dataplane/node/test_work: test_an_order_that_the_platform_did_not_sign…, …altered…      |
| an order without a live grant, at a node | dataplane/node/test_work: test_an_order_whose_grant_is_not_live_today_is_refused_on_…   |
| rows and items beyond, masks             | dataplane/pipeline/test_extract: test_only_granted_rows_and_items_leave_and_masked      |
| a relay's chunk by the wrong node        | api/test_nodes: test_the_wrong_node_gets_no_chunk_and_that_is_written_down              |
| a relay's chunk without a live grant     | exchange/test_relay: test_no_byte_moves_when_the_grant_is_not_live, …after_the_last_day |
| a staged chunk with another identity     | dataplane/pipeline/test_deliver: test_another_nodes_identity_opens_nothing              |
| a quarantine file                        | dataplane/checks/test_checker: test_quarantine_opens_for_the_provider_only              |
| the machine interface unsigned, replayed | api/test_nodes: test_nothing_is_told_to_who_does_not_sign, test_the_same_call_twice_…   |
| the gateway, whatever grant and question | dataplane/gateway/test_leaks, test_attacks, test_authentication, test_policy            |
| evidence, without values                 | dataplane/gateway/test_app: test_the_evidence_holds_no_value_that_was_looked_up_or_found|
| a policy on disk altered or foreign      | dataplane/gateway/test_link, test_snapshot                                              |
| a backup                                 | duty/test_backup: test_a_backup_shows_nothing_without_its_passphrase                    |
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from jinqiao import duty
from jinqiao.accounts.enums import THREE_ADMINISTRATORS, Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.dataplane.checks.quarantine import open_quarantine
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Call, RelayChunk
from jinqiao.sharing import actions as sharing_actions
from tests.consistency.marked_city import (
    ASKED_FOR,
    BEYOND_ITEM,
    CONTENT,
    DRAFT,
    GRANTED,
    PAPER,
    UNGRANTED,
    City,
    found_in_files,
    found_in_tables,
    make_city,
)
from tests.consistency.test_access import PAGES
from tests.dataplane.gateway.world import Caller, running_home
from tests.factories import make_post
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "jinqiao.accounts.backends.PersonBackend"


@pytest.fixture
def city(tmp_path: Path, live_server: Any, settings: Any, caplog: pytest.LogCaptureFixture) -> Iterator[City]:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="jinqiao")
    cache.clear()
    settings.RELAY_ROOT = tmp_path / "relay"
    settings.MEDIA_ROOT = tmp_path / "media"
    made = make_city(tmp_path, live_server.url)
    yield made
    made.close()


def browser(post: Post) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(post.person, backend=BACKEND)
    session = client.session
    session["post_id"] = post.pk
    session.save()
    return client


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def refusals() -> int:
    return AuditEvent.objects.filter(outcome=Outcome.REFUSED).count()


def seen_anywhere(city: City, words: tuple[str, ...]) -> list[str]:
    """Where a word stands in clear outside the two departments' own databases."""
    databases = (city.provider.file, city.consumer.file)
    return found_in_files(words, city.folder, without=databases) + found_in_tables(words)


def ask_all(city: City, *questions: dict[str, Any], key: tuple[str, str] | None = None) -> list[Any]:
    """The gateway in this process, pulled from the platform; the answers to some questions."""

    async def conversation() -> list[Any]:
        async with running_home(city.gateway_home) as (caller, gateway):
            assert isinstance(caller, Caller)
            caller.key_id, caller.secret = key or (city.key_id, city.secret)
            for _ in range(
                100
            ):  # the platform's word first: what was decided meanwhile is in force within its next pull
                if gateway.readiness()["platform_reached_s_ago"] is not None:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.3)
            answers = [await caller.ask(question, service=city.service.number) for question in questions]
            for _ in range(100):
                if gateway.readiness()["evidence_waiting_batches"] == 0:
                    break
                await asyncio.sleep(0.1)
            return answers

    return asyncio.run(conversation())


def test_bytes_stand_where_they_were_granted_to_and_nowhere_else(city: City, caplog: pytest.LogCaptureFixture) -> None:
    run = city.run()
    assert (run.state, run.rows, run.rows_quarantined) == (RunState.DELIVERING, 398, 1), run.problem
    assert RelayChunk.objects.filter(run=run).exists()
    assert len(list((city.provider.home / "spool").rglob("*.jqc"))) >= 2
    # in flight: staged, quarantined, relayed — ciphertext throughout
    assert seen_anywhere(city, CONTENT) == []

    city.consumer.rounds()
    run.refresh_from_db()
    assert run.state == RunState.RECONCILED, run.problem
    (good, beyond) = ask_all(city, city.question(), city.question(items=["xm", "je"]))
    assert good.json()["rows"] == [{"xm": f"{GRANTED}一", "djrq": "2024-05-20"}]
    assert beyond.status_code == 403
    assert Call.objects.filter(outcome=beyond.json()["code"]).count() == 1

    delivered = city.consumer.file.read_bytes()
    assert GRANTED.encode() in delivered
    assert [word for word in UNGRANTED if word.encode() in delivered] == []
    assert seen_anywhere(city, (*CONTENT, ASKED_FOR)) == []
    assert found_in_files(city.secrets(), city.folder) + found_in_tables(city.secrets()) == []
    told = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert [word for word in (*CONTENT, ASKED_FOR, *city.secrets()) if word in told] == []
    city.provider.rounds()
    # only what was set aside stays for a while, sealed to the node that it came from
    kept = list((city.provider.home / "spool").rglob("*.jqc"))
    assert [path.name for path in kept] == ["quarantine.jqc"]
    assert open_quarantine(kept[0].read_bytes(), city.provider.node.home.identity).num_rows == 1


def addresses(city: City, run_id: int) -> list[tuple[str, str]]:
    """Every page with an address of its own here, by name; those that take another thing's number get this city's."""
    things = {
        "organisation": city.parties.provider.pk,
        "person": city.parties.clerk.person_id,
        "application": city.application.pk,
        "key": city.application.keys.get().pk,
        "entry": city.parties.entry.pk,
        "version": city.draft.pk,
        "edit": city.draft.pk,
        "review": city.draft.pk,
        "bind": city.parties.entry.pk,
        "node": city.provider.record.pk,
        "source": city.provider.source.pk,
        "task": city.task.pk,
        "run": run_id,
        "service": city.service.pk,
        "request": city.request.pk,
        "decide": city.request.pk,
        "grant": city.grant.pk,
        "post": city.parties.clerk.pk,
    }
    found = []
    for _route, name, entry in PAGES:
        groups = set(getattr(entry.pattern, "converters", ())) | set(entry.pattern.regex.groupindex)
        first = name.rpartition(":")[2].split("_")[0]
        values: dict[str, Any] = {
            "pk": things.get(first, 1),
            "entry_id": city.parties.entry.pk,
            "paper_id": city.paper.pk,
            "paper": city.paper.pk,
            "application": city.application.pk,
            "number": 1,
            "year": 2026,
            "figure": "entries",
            "verb": "suspend",
            "kind": "run_failed",
            "position": 0,
            "state": "suspend",
        }
        found.append((name, reverse(name, kwargs={group: values[group] for group in groups})))
    return found


ACCESS = {name: entry.callback.access for _route, name, entry in PAGES}
LISTS = {name for route, name, _entry in PAGES if not set("<(") & set(route)}


def test_no_page_of_anybody_shows_a_value_of_the_data(city: City, caplog: pytest.LogCaptureFixture) -> None:
    run = city.run()
    city.consumer.rounds()
    ask_all(city, city.question())
    pages = addresses(city, run.pk)
    assert len(pages) > 80
    insiders = [city.parties.clerk, city.parties.asker, city.parties.bureau]
    posts = [*insiders, *(make_post(role, city.third) for role in Role if role != Role.BUREAU)]
    hidden = (*CONTENT, ASKED_FOR, *city.secrets())
    entered = 0
    for post in posts:
        client = browser(post)
        is_outside = post not in insiders and post.role != Role.AUDITOR
        exports = not is_outside or post.role in {Role.OPERATOR, Role.AUDIT_ADMINISTRATOR}
        for name, address in pages:
            access = ACCESS[name]
            if isinstance(access, frozenset) and post.role not in access:
                continue  # shut by its decorator, as other tests hold
            for query in ({}, {"export": "xlsx"}) if exports and name in LISTS else ({},):
                response = client.get(address, query)
                assert response.status_code < 500, (post.role, name)
                entered += response.status_code == 200
                text = body_of(response).decode("utf-8", "replace") + json.dumps(dict(response.headers))
                assert [word for word in hidden if word in text] == [], (post.role, name)
                if is_outside:
                    assert DRAFT not in text, (post.role, name)
                    assert city.request.number not in text, (post.role, name)
    assert entered > 200  # the doors were not simply shut
    assert [word for word in hidden if word in caplog.text] == []
    assert found_in_tables(hidden) == []


def test_a_search_finds_no_value_and_no_draft(city: City) -> None:
    city.run()
    for client in (Client(), browser(make_post(Role.OPERATOR, city.third)), browser(city.parties.asker)):
        for word in (GRANTED, BEYOND_ITEM, ASKED_FOR, DRAFT):
            response = client.get(reverse("catalogue:search"), {"q": word})
            assert response.status_code == 200
            assert list(response.context["page"]) == [], word


OUTSIDERS = [(role, "third") for role in Role if role not in {Role.BUREAU, Role.AUDITOR}] + [
    (role, side) for side in ("provider", "consumer") for role in sorted(THREE_ADMINISTRATORS)
]


def test_whoever_has_no_part_in_a_request_gets_none_of_its_papers_and_that_is_written_down(city: City) -> None:
    address = reverse("sharing:request_paper", args=[city.request.pk, city.paper.pk])
    assert body_of(browser(city.parties.asker).get(address)) == PAPER
    assert body_of(browser(city.parties.clerk).get(address)) == PAPER
    for role, side in OUTSIDERS:
        organisation = city.third if side == "third" else getattr(city.parties, side)
        before = refusals()
        response = browser(make_post(role, organisation)).get(address)
        assert response.status_code in (403, 404), (role, side)
        assert PAPER not in body_of(response)
        assert refusals() == before + 1, (role, side)


def test_a_paper_is_not_reached_through_ones_own_request(city: City) -> None:
    """The number of another's paper below the address of a request that may be seen."""
    post = make_post(Role.OPERATOR, city.third)
    own = sharing_actions.draft_request(city.parties.entry, by=post, fields=sharing.fields())
    before = refusals()
    response = browser(post).get(reverse("sharing:request_paper", args=[own.pk, city.paper.pk]))
    assert response.status_code == 404
    assert refusals() == before + 1


CHANGING_AN_ENTRY = ("catalogue:entry_revise", "catalogue:entry_withdraw")


def test_every_try_at_anothers_things_is_refused_and_written_down(city: City) -> None:
    """A department outside tries each page that names a thing of the others, and each button on it."""
    run = city.run()
    state = (run.state, city.task.state, city.draft.state, city.application.state)
    post = make_post(Role.OPERATOR, city.third)
    client = browser(post)
    theirs = ("exchange:", "sharing:", "catalogue:edit", "catalogue:review", "catalogue:import_", "accounts:key")
    ways = [
        (name, address)
        for name, address in addresses(city, run.pk)
        if name.startswith((*theirs, "accounts:application", *CHANGING_AN_ENTRY)) and any(map(str.isdigit, address))
    ]
    tried = 0
    for name, address in ways:
        if name == "sharing:new":  # whoever may ask may ask for any published entry
            continue
        for method in ("post",) if name in CHANGING_AN_ENTRY else ("get", "post"):
            before = refusals()
            response = getattr(client, method)(
                address, {"reason": "试", "approved": "1", "opinion": "试"} if method == "post" else {}
            )
            assert response.status_code in (403, 404, 405), (name, method)
            if response.status_code != 405:
                tried += 1
                event = AuditEvent.objects.filter(outcome=Outcome.REFUSED).order_by("number").last()
                assert refusals() == before + 1, (name, method)
                assert event is not None
                assert (event.actor_id, event.details["page"]) == (str(post.person_id), name)
    assert tried > 50
    run.refresh_from_db()
    for thing in (city.task, city.draft, city.application):
        thing.refresh_from_db()
    assert (run.state, city.task.state, city.draft.state, city.application.state) == state
    assert city.application.keys.get().revoked_at is None


def test_a_revoked_grant_gives_nothing_more_in_any_way(city: City) -> None:
    """Task, run, relay, delivery and gateway, all at once, the moment after both grants were revoked."""
    run = city.run()
    (before,) = ask_all(city, city.question())
    assert before.status_code == 200, before.text
    for grant in (city.grant, city.service.grant):
        sharing_actions.revoke_grant(grant, by=city.parties.provider_head, reason="超范围使用")
    city.consumer.rounds(2)
    city.provider.rounds()
    (after,) = ask_all(city, city.question())
    assert after.status_code in (401, 403, 404)
    assert GRANTED not in after.text
    run.refresh_from_db()
    assert run.state == RunState.STOPPED
    assert GRANTED.encode() not in city.consumer.file.read_bytes()
    assert Call.objects.exclude(outcome="ok").exists()
    response = browser(city.parties.asker).post(reverse("exchange:task_start", args=[city.task.pk]))
    assert response.status_code in (400, 403, 409) or not city.task.runs.exclude(pk=run.pk).exists()
    assert seen_anywhere(city, CONTENT) == []


def test_a_backup_of_all_homes_shows_no_value_and_no_secret(city: City, tmp_path: Path) -> None:
    city.run()
    for number, home in enumerate((city.gateway_home, city.provider.home)):
        file = tmp_path / f"{number}.backup"
        duty.back_up(home, file, b"correct horse battery staple")
        data = file.read_bytes()
        assert [word for word in (*CONTENT, *city.secrets()) if word.encode() in data] == []
        with pytest.raises(duty.BackupUnreadable):
            duty.restore(file, tmp_path / f"again-{number}", b"wrong")

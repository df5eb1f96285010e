"""To-dos and sign-offs."""

from datetime import date

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.audit.trail import Subject
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.rulesets import ruleset
from jinqiao.workflow import actions, errors, queries
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import ToDo
from tests import factories

pytestmark = pytest.mark.django_db


def _open(post, about, kind="sharing.request.reply", **more):
    return actions.open_todo(
        kind=kind, title="答复申请", organisation=post.organisation, role=post.role, about=about, **more
    )


def test_a_to_do_waits_for_whoever_holds_the_role_there(provider, case):
    colleague = factories.make_post(Role.OPERATOR, provider.organisation)
    todo = _open(provider, case)

    assert list(queries.desk(provider)) == [todo]
    assert list(queries.desk(colleague)) == [todo]
    assert list(queries.desk(factories.make_post(Role.OPERATOR))) == []
    assert list(queries.desk(factories.make_post(Role.HEAD, provider.organisation))) == []


def test_a_to_do_for_one_person_is_on_nobody_elses_desk(provider, case):
    colleague = factories.make_post(Role.OPERATOR, provider.organisation)
    todo = _open(provider, case, person=provider.person)

    assert list(queries.desk(provider)) == [todo]
    assert list(queries.desk(colleague)) == []


def test_the_same_to_do_is_not_opened_twice(provider, case):
    assert _open(provider, case) == _open(provider, case)
    assert _open(provider, case, kind="sharing.request.papers") != _open(provider, case)
    actions.finish_todos(case, by=provider)
    assert _open(provider, case).done_at is None
    assert ToDo.objects.count() == 3


def test_the_earliest_due_comes_first_and_what_has_no_date_last(provider):
    rules = ruleset("rules-2025")
    things = [Subject("test.thing", str(number), "") for number in range(4)]
    starts = [None, date(2026, 3, 10), date(2026, 3, 2), date(2026, 3, 3)]
    todos = []
    for thing, started_on in zip(things, starts, strict=True):
        clock = started_on and actions.start_clock(
            key="request.reply.conditional",
            about=thing,
            organisation=provider.organisation,
            rule_set=rules,
            started_on=started_on,
        )
        todos.append(_open(provider, thing, clock=clock))
    actions.pause_clock(todos[3].clock, on=date(2026, 3, 4), by=provider)

    assert list(queries.desk(provider)) == [todos[2], todos[1], todos[0], todos[3]]


def test_a_desk_costs_one_query_however_full(provider, django_assert_num_queries):
    for number in range(3):
        _open(provider, Subject("test.thing", str(number), ""))

    with django_assert_num_queries(1):
        assert [(todo.clock, todo.organisation.short_name) for todo in queries.desk(provider)]


def test_finishing_closes_all_or_some_kinds_of_a_thing_only(provider, case):
    reply, papers = _open(provider, case), _open(provider, case, kind="sharing.request.papers")
    other = _open(provider, Subject("sharing.sharingrequest", "2", ""))

    assert actions.finish_todos(case, by=provider, kinds=["sharing.request.papers"]) == 1
    assert list(queries.open_todos(case)) == [reply]
    assert actions.finish_todos(case, by=None) == 1
    assert list(queries.desk(provider)) == [other]
    assert list(queries.handled_by(provider)) == [papers]


def test_an_informing_item_is_ticked_off_by_whom_it_waits_for(provider, case):
    todo = _open(provider, case)

    with pytest.raises(errors.ToDoElsewhere):
        actions.finish_todo(todo, by=factories.make_post(Role.OPERATOR))
    assert actions.finish_todo(todo, by=provider)
    assert not actions.finish_todo(todo, by=provider)


@pytest.mark.parametrize("name", ["international", "guomi"])
def test_a_sign_off_keeps_who_signed_and_the_digest_of_what(name, case, settings):
    settings.CRYPTO_SUITE = name
    head = factories.make_post(Role.HEAD)

    signed = actions.sign(
        SignOffKind.DECISION_HEAD, about=case, by=head, approved=True, opinion=" 同意 ", content="授权".encode()
    )

    assert signed.digest == suite(name).digest("授权".encode()).hex()
    assert (signed.person_name, signed.organisation_name, signed.opinion) == (
        head.person.name,
        head.organisation.name,
        "同意",
    )
    assert list(queries.sign_offs(case)) == [signed]
    event = AuditEvent.objects.get()
    assert (event.action, event.details["digest"]) == ("workflow.sign_off.sign", signed.digest)

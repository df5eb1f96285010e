"""Random walks over requests: whatever anybody tries in whatever order, a grant has both heads behind it."""

import pytest
from django.db import transaction
from hypothesis import event, given, settings
from hypothesis import strategies as st

from jinqiao.accounts.enums import Role
from jinqiao.audit import trail
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing import actions, queries
from jinqiao.sharing.enums import GRANT_MOVES, REQUEST_MOVES, GrantState, RequestState
from jinqiao.sharing.models import Decision, Grant, GrantChange, SharingRequest
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import ToDo
from tests.factories import make_post
from tests.sharing.factories import ITEMS, fields, make_parties

CODES = [code for code, *_ in ITEMS]
some_items = st.one_of(st.just([]), st.lists(st.sampled_from([*CODES, "geheim"]), max_size=4))

STEPS = {
    "save": lambda r, by, codes, yes: actions.save_request(r, by=by, fields=fields(items=codes)),
    "submit": lambda r, by, codes, yes: actions.submit_request(r, by=by),
    "approve": lambda r, by, codes, yes: actions.approve_request(r, by=by, approved=yes, opinion="意见"),
    "ask papers": lambda r, by, codes, yes: actions.ask_for_papers(r, by=by, missing="清单"),
    "supply papers": lambda r, by, codes, yes: actions.supply_papers(r, by=by, note="已补"),
    "reply": lambda r, by, codes, yes: actions.draft_decision(
        r, by=by, agrees=yes, items=codes or None, article="article-25", reason="理由"
    ),
    "approve reply": lambda r, by, codes, yes: actions.approve_decision(r, by=by, approved=yes, opinion="意见"),
    "ask extension": lambda r, by, codes, yes: actions.ask_extension(r, by=by, days=3, reason="核对"),
    "consent": lambda r, by, codes, yes: actions.decide_extension(r, by=by, approved=yes, opinion="意见"),
    "withdraw": lambda r, by, codes, yes: actions.withdraw_request(r, by=by, reason="不用了"),
    "suspend": lambda r, by, codes, yes: actions.suspend_grant(_grant(r), by=by, reason="核查"),
    "resume": lambda r, by, codes, yes: actions.resume_grant(_grant(r), by=by, reason="无误"),
    "revoke": lambda r, by, codes, yes: actions.revoke_grant(_grant(r), by=by, reason="结束"),
    "propose": lambda r, by, codes, yes: actions.propose_change(_grant(r), by=by, items=codes or None, reason="缩小"),
    "approve change": lambda r, by, codes, yes: actions.approve_change(
        _first(GrantChange.objects.filter(grant__request=r)), by=by, approved=yes, opinion="意见"
    ),
}
# the way to a grant is long: half of the steps are the natural next one, so that walks get there and beyond
NEXT = {
    RequestState.DRAFT: "submit",
    RequestState.HEAD_APPROVAL: "approve",
    RequestState.AWAITING_REPLY: "reply",
    RequestState.AWAITING_PAPERS: "supply papers",
    RequestState.REPLY_APPROVAL: "approve reply",
    RequestState.GRANTED: "propose",
}
GO_ON = "go on"
WHOSE = {
    "save": 0, "submit": 0, "approve": 1, "ask papers": 2, "supply papers": 0, "reply": 2, "approve reply": 3,
    "ask extension": 2, "consent": 4, "withdraw": 0, "suspend": 3, "resume": 3, "revoke": 3, "propose": 2,
    "approve change": 3,
}  # fmt: skip
steps = st.tuples(
    st.one_of(st.just(GO_ON), st.sampled_from([*STEPS])),
    st.one_of(st.none(), st.none(), st.none(), st.integers(0, 8)),  # None: whose step it is
    some_items,
    st.sampled_from([True, True, True, False]),
)


class NothingThere(JinqiaoError):
    code = "test.nothing_there"


def _first(found):
    first = found.order_by("-id").first()
    if first is None:
        raise NothingThere
    return first


def _grant(request):
    return _first(Grant.objects.filter(request=request))


@pytest.mark.django_db
@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=12, max_size=40), st.lists(st.sampled_from(CODES), min_size=1))
def test_no_walk_reaches_a_grant_that_two_other_people_have_not_signed(walk, asked):
    with transaction.atomic():
        parties = make_parties()
        posts = [
            parties.asker,
            parties.consumer_head,
            parties.clerk,
            parties.provider_head,
            parties.bureau,
            make_post(Role.OPERATOR, parties.consumer, person=parties.consumer_head.person),
            make_post(Role.OPERATOR, parties.provider, person=parties.provider_head.person),
            make_post(Role.HEAD, parties.provider, person=parties.asker.person),
            make_post(Role.HEAD, parties.consumer, person=parties.clerk.person),
        ]
        request = actions.draft_request(parties.entry, by=parties.asker, fields=fields(items=asked))
        states, grant_states = [RequestState.DRAFT], {}
        for name, actor, codes, yes in walk:
            name = NEXT.get(request.state, "propose") if name == GO_ON else name
            try:
                with transaction.atomic():
                    STEPS[name](request, posts[WHOSE[name] if actor is None else actor], codes, yes)
            except JinqiaoError:
                pass
            request = SharingRequest.objects.get(pk=request.pk)
            if request.state != states[-1]:
                assert request.state in REQUEST_MOVES[states[-1]]
                states.append(RequestState(request.state))
            check_grants(request, grant_states)
        assert trail.verify().ok
        event(f"ends {request.state}, {len(grant_states)} grants")
        transaction.set_rollback(True)


def check_grants(request, known):
    found = list(Grant.objects.filter(request=request).select_related("request", "replaces").order_by("id"))
    assert bool(found) is (request.state == RequestState.GRANTED)
    if request.state in (RequestState.GRANTED, RequestState.REFUSED, RequestState.WITHDRAWN):
        about = queries.about_request(request)
        assert not ToDo.objects.filter(about_type=about.type, about_id=about.id, done_at=None).exists()
        assert all(clock.state == "stopped" for clock in desk.clocks_of(about))
    for grant in found:
        if grant.state != known.get(grant.pk, grant.state):
            assert grant.state in GRANT_MOVES[known[grant.pk]]
        known[grant.pk] = GrantState(grant.state)
    if not found:
        return
    decision = Decision.objects.get(request=request)
    signed = {
        (s.kind, s.post.role, s.post.organisation_id): s.post
        for s in desk.sign_offs(queries.about_request(request))
        if s.approved
    }
    asking = signed["request_head", Role.HEAD, request.consumer_id]
    answering = signed["decision_head", Role.HEAD, request.provider_id]
    drafters = {request.created_by.person_id, request.edited_by.person_id, request.submitted_by.person_id}
    assert asking.person_id not in drafters
    assert answering.person_id not in {*drafters, asking.person_id, decision.drafted_by.person_id}
    assert [grant.number for grant in found] == [f"{request.number}/{n}" for n in range(1, len(found) + 1)]
    assert sum(grant.state in (GrantState.ACTIVE, GrantState.SUSPENDED) for grant in found) <= 1
    for grant in found:
        codes = {item["code"] for item in grant.items}
        assert codes
        assert codes <= set(request.items) & set(decision.items)
        assert all(condition in grant.row_filter for condition in request.row_filter)
        assert queries.is_unaltered(grant)

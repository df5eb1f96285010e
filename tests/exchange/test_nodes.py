"""Nodes come by a one-time code, are watched, and go."""

from datetime import timedelta

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone, NodeKind, NodeState
from jinqiao.exchange.errors import (
    CodeWrong,
    FingerprintDiffers,
    IdentityTaken,
    NodeInUse,
    NodeKindWrong,
    NodeStateWrong,
    NotYourNode,
    NumberTaken,
    SuiteMismatch,
)
from jinqiao.exchange.models import Node, QueryService
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import NodeRegistration
from jinqiao.kernel.crypto.errors import IdentityBroken
from jinqiao.kernel.crypto.identity import Identity, fingerprint
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import World, make_node, make_world
from tests.factories import make_authority, make_organisation, make_post
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    """Of the test alone: the others here look at every node that there is."""
    return make_world()


def expected(number: str = "node-x") -> tuple[Node, str]:
    organisation = make_organisation()
    return actions.expect_node(
        by=make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation),
        number=number,
        name="前置节点",
        kind=NodeKind.FRONT_END,
        organisation=organisation,
        zone=NetworkZone.EXTRANET,
    )


def registration(code: str, identity: Identity | None = None) -> NodeRegistration:
    identity = identity or Identity.generate()
    return NodeRegistration(code=code, identity=identity.public.to_json(), name="n", version="0.1.0")


def test_a_node_is_admitted_once_by_its_code_and_learns_the_platforms_key() -> None:
    node, code = expected()
    admission = actions.register_node(registration(code))

    node.refresh_from_db()
    assert (admission.node_id, node.state) == ("node-x", NodeState.AWAITING)
    assert admission.platform_identity["suite"] == "international"
    with pytest.raises(CodeWrong):
        actions.register_node(registration(code))


def test_the_code_is_kept_only_as_a_digest_and_not_in_the_trail() -> None:
    node, code = expected()

    assert code not in repr(node.__dict__)
    assert not AuditEvent.objects.filter(details__icontains=code).exists()


def test_a_code_ends_after_a_day() -> None:
    node, code = expected()
    Node.objects.filter(pk=node.pk).update(code_expires_at=moments.now() - timedelta(seconds=1))

    with pytest.raises(CodeWrong):
        actions.register_node(registration(code))


def test_a_new_code_takes_the_place_of_the_old_one() -> None:
    node, code = expected()
    admin = node.organisation.posts.get()
    new = actions.renew_code(node, by=admin)

    with pytest.raises(CodeWrong):
        actions.register_node(registration(code))
    identity = Identity.generate()
    actions.register_node(registration(new, identity))
    actions.approve_node(node, by=admin, key_id=identity.key_id)
    with pytest.raises(NodeStateWrong):
        actions.renew_code(node, by=admin)


def test_a_node_works_only_after_somebody_has_compared_its_fingerprint() -> None:
    node, code = expected()
    admin = node.organisation.posts.get()
    identity = Identity.generate()
    actions.register_node(registration(code, identity))

    todo = ToDo.objects.get(kind="exchange.node.approval")
    assert (todo.organisation, todo.done_at) == (node.organisation, None)
    with pytest.raises(NodeStateWrong):
        actions.resume_node(node, by=admin)
    with pytest.raises(NotYourNode):
        actions.approve_node(node, by=make_post(Role.DEPARTMENT_ADMINISTRATOR), key_id=identity.key_id)
    with pytest.raises(FingerprintDiffers):
        actions.approve_node(node, by=admin, key_id=Identity.generate().key_id)

    assert actions.approve_node(node, by=admin, key_id=fingerprint(identity.key_id)).state == NodeState.ACTIVE
    todo.refresh_from_db()
    assert todo.done_at is not None
    event = AuditEvent.objects.get(action="exchange.node.approve")
    assert event.details["key_id"] == identity.key_id
    with pytest.raises(NodeStateWrong):
        actions.approve_node(node, by=admin, key_id=identity.key_id)


def test_a_node_that_is_not_the_expected_one_is_sent_away_with_a_new_code() -> None:
    node, code = expected()
    admin = node.organisation.posts.get()
    stranger, right = Identity.generate(), Identity.generate()
    actions.register_node(registration(code, stranger))
    new = actions.renew_code(node, by=admin)

    node.refresh_from_db()
    assert (node.state, node.identity, node.key_id) == (NodeState.EXPECTED, {}, "")
    actions.register_node(registration(new, right))
    with pytest.raises(FingerprintDiffers):
        actions.approve_node(node, by=admin, key_id=stranger.key_id)
    assert actions.approve_node(node, by=admin, key_id=right.key_id).key_id == right.key_id


def test_a_key_belongs_to_one_node_and_a_refused_registration_leaves_the_code_good() -> None:
    identity = Identity.generate()
    actions.register_node(registration(expected("node-1")[1], identity))
    _node, code = expected("node-2")

    with pytest.raises(IdentityTaken):
        actions.register_node(registration(code, identity))
    actions.register_node(registration(code))


def test_a_node_of_another_suite_is_refused() -> None:
    with pytest.raises(SuiteMismatch):
        actions.register_node(registration(expected()[1], Identity.generate("guomi")))


def test_an_identity_that_claims_anothers_key_id_is_refused() -> None:
    forged = {**Identity.generate().public.to_json(), "key_id": Identity.generate().key_id}

    with pytest.raises(IdentityBroken):
        actions.register_node(NodeRegistration(code=expected()[1], identity=forged, name="n", version="0"))


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.HEAD, Role.SYSTEM_ADMINISTRATOR, Role.AUDITOR])
def test_who_may_not_set_up_nodes(role: Role) -> None:
    organisation = make_organisation()
    with pytest.raises(NotYourNode):
        actions.expect_node(
            by=make_post(role, organisation),
            number="n",
            name="n",
            kind=NodeKind.FRONT_END,
            organisation=organisation,
            zone=NetworkZone.EXTRANET,
        )


def test_an_administrator_of_another_department_does_not_touch_a_node() -> None:
    node, _code = expected()
    with pytest.raises(NotYourNode):
        actions.renew_code(node, by=make_post(Role.DEPARTMENT_ADMINISTRATOR))


def test_numbers_of_nodes_are_given_once() -> None:
    expected("same")
    with pytest.raises(NumberTaken):
        expected("same")


def test_a_silent_node_becomes_one_to_do_until_it_is_heard_again() -> None:
    hands = make_node(make_organisation())
    Node.objects.update(seen_at=moments.now() - timedelta(minutes=11))

    assert actions.alert_silent_nodes() == 1
    assert actions.alert_silent_nodes() == 0
    todo = ToDo.objects.get(kind="exchange.node.silent")
    assert (todo.organisation, todo.done_at) == (hands.node.organisation, None)

    hands.poll()

    todo.refresh_from_db()
    assert todo.done_at is not None
    Node.objects.update(seen_at=moments.now() - timedelta(minutes=11))
    assert actions.alert_silent_nodes() == 1


def test_a_heartbeat_is_noted_with_the_clocks_difference() -> None:
    hands = make_node(make_organisation())
    Node.objects.update(seen_at=moments.now() - timedelta(minutes=1))
    hands.poll()

    hands.node.refresh_from_db()
    assert (hands.node.version, hands.node.spool_free_bytes) == ("0.1.0", 10**11)
    assert abs(hands.node.clock_offset_s or 0) < 5


def test_a_node_with_a_live_run_is_not_retired(world: World) -> None:
    world.run()
    node = world.provider_node.node

    with pytest.raises(NodeInUse):
        actions.retire_node(node, by=world.provider_admin, reason="换机")


def test_a_node_is_suspended_resumed_and_retired_for_good(world: World) -> None:
    node = world.provider_node.node
    by = world.provider_admin
    assert actions.suspend_node(node, by=by, reason="检修").state == NodeState.SUSPENDED
    assert actions.resume_node(node, by=by).state == NodeState.ACTIVE
    assert actions.retire_node(node, by=by, reason="换机").state == NodeState.RETIRED
    with pytest.raises(NodeStateWrong):
        actions.resume_node(node, by=by)


def test_a_gateway_gets_no_commands() -> None:
    hands = make_node(make_organisation(), NodeKind.GATEWAY)
    with pytest.raises(NodeKindWrong):
        hands.poll()


def test_services_that_wait_get_the_gateway_that_comes() -> None:
    parties = sharing.make_parties()
    grant = sharing.make_grant(parties, use_from=moments.today())
    assert QueryService.objects.get(grant=grant).gateway is None
    make_node(make_organisation(), NodeKind.GATEWAY)  # somebody else's
    assert QueryService.objects.get(grant=grant).gateway is None

    centre = make_node(make_authority("金昌市大数据中心"), NodeKind.GATEWAY)

    assert QueryService.objects.get(grant=grant).gateway == centre.node

"""Nodes come, are watched, and go."""

import hashlib
import math
import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import node_actor, platform_identity
from jinqiao.exchange.actions.rotation import keep_identity
from jinqiao.exchange.enums import NODE_MOVES, NetworkZone, NodeKind, NodeState, RunState
from jinqiao.exchange.errors import (
    CodeWrong,
    FingerprintDiffers,
    IdentityTaken,
    NodeInUse,
    NodeStateWrong,
    NumberTaken,
    SuiteMismatch,
)
from jinqiao.exchange.models import Node, NodeIdentity, QueryService, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import NodeAdmission, NodeRegistration
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.workflow import actions as workflow

CODE_HOURS = 24
SILENT_AFTER_S = 600
POLL_S = 1.0
SILENCE = "exchange.node.silent"
APPROVAL = "exchange.node.approval"


def code_digest(code: str) -> str:
    return hashlib.sha256(code.strip().encode()).hexdigest()


def _new_code(node: Node) -> str:
    code = secrets.token_hex(16)  # a letter that begins an option (-) would not do on a command line
    node.code_digest = code_digest(code)
    node.code_expires_at = moments.now() + timedelta(hours=CODE_HOURS)
    return code


def _locked(node: Node) -> Node:
    return Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)


def _move(node: Node, state: NodeState) -> None:
    if state not in NODE_MOVES[NodeState(node.state)]:
        raise NodeStateWrong(node=node.number, state=str(node.get_state_display()))
    node.state = state


@transaction.atomic
def expect_node(
    *, by: Post, number: str, name: str, kind: NodeKind, organisation: Organisation, zone: NetworkZone
) -> tuple[Node, str]:
    """Register a node that is to come, and its one-time code: shown once, valid for a day, kept only as a digest."""
    rules.check_may_manage_nodes(by, organisation)
    if Node.objects.filter(number=number).exists():
        raise NumberTaken(number=number)
    node = Node(number=number, name=name, kind=kind, organisation=organisation, zone=zone)
    code = _new_code(node)
    node.save()
    trail.record("exchange.node.expect", by=by.actor, about=trail.subject(node), kind=str(kind))
    return node, code


@transaction.atomic
def renew_code(node: Node, *, by: Post) -> str:
    """A new one-time code for a node that has not come yet; also where the one that came is not the one that was expected."""
    node = _locked(node)
    rules.check_may_manage_node(by, node)
    if node.state == NodeState.AWAITING:
        _move(node, NodeState.EXPECTED)
        node.identity, node.key_id, node.registered_at, node.seen_at = {}, "", None, None
    if node.state != NodeState.EXPECTED:
        raise NodeStateWrong(node=node.number, state=str(node.get_state_display()))
    code = _new_code(node)
    node.save()
    trail.record("exchange.node.renew_code", by=by.actor, about=trail.subject(node))
    return code


@transaction.atomic
def register_node(registration: NodeRegistration) -> NodeAdmission:
    """A node's first word: its code is used up and its public identity kept. It waits until somebody has confirmed its key.

    Raises:
        CodeWrong: unknown, used or too old; which of these is not told.
        SuiteMismatch, IdentityTaken, IdentityBroken: the code stays good, so that the node can come again.
    """
    node = (
        Node.objects.select_for_update(of=("self",))
        .select_related("organisation")
        .filter(code_digest=code_digest(registration.code), state=NodeState.EXPECTED)
        .first()
    )
    if node is None or not node.code_expires_at or node.code_expires_at < moments.now():
        raise CodeWrong
    public = PublicIdentity.from_json(registration.identity)
    own = platform_identity()
    if public.suite != own.suite:
        raise SuiteMismatch(got=public.suite, wanted=own.suite)
    had = NodeIdentity.objects.select_related("node").filter(key_id=public.key_id).first()
    taken = had.node if had is not None else Node.objects.filter(key_id=public.key_id).first()
    if taken is not None:
        raise IdentityTaken(node=taken.number)
    _move(node, NodeState.AWAITING)
    node.identity, node.key_id = public.to_json(), public.key_id
    node.code_digest, node.code_expires_at = "", None
    node.registered_at = node.seen_at = moments.now()
    node.version = registration.version[:20]
    node.save()
    workflow.open_todo(
        kind=APPROVAL,
        title=_("节点“%(name)s”已登记，待核对密钥指纹") % {"name": node.name},
        organisation=node.organisation,
        role=Role.DEPARTMENT_ADMINISTRATOR,
        about=trail.subject(node),
    )
    trail.record("exchange.node.register", by=node_actor(node), about=trail.subject(node), key_id=public.key_id)
    return NodeAdmission(node_id=node.number, platform_identity=own.public.to_json(), poll_s=POLL_S)


@transaction.atomic
def approve_node(node: Node, *, by: Post, key_id: str) -> Node:
    """A person has compared the fingerprint at the node's machine with the one shown here: the node may work.

    `key_id` is the key that was compared. Raises NotYourNode, NodeStateWrong, FingerprintDiffers where another has come since.
    """
    node = _locked(node)
    rules.check_may_manage_node(by, node)
    if node.state != NodeState.AWAITING:
        raise NodeStateWrong(node=node.number, state=str(node.get_state_display()))
    if key_id.replace(" ", "").lower() != node.key_id:
        raise FingerprintDiffers(node=node.number)
    _move(node, NodeState.ACTIVE)
    node.seen_at = moments.now()
    node.save(update_fields=["state", "seen_at"])
    keep_identity(node)
    if node.kind == NodeKind.GATEWAY:
        _give_services_a_gateway(node)
    workflow.finish_todos(trail.subject(node), by=by, kinds=[APPROVAL])
    trail.record("exchange.node.approve", by=by.actor, about=trail.subject(node), key_id=node.key_id)
    return node


def _give_services_a_gateway(gateway: Node) -> None:
    """Services that wait for a gateway: those of its own department, and all where it stands in the centre."""
    waiting = QueryService.objects.filter(gateway=None)
    if not gateway.organisation.is_authority:
        waiting = waiting.filter(grant__provider_id=gateway.organisation_id)
    waiting.update(gateway=gateway)


def gateway_for(provider: Organisation) -> Node | None:
    """Where a provider's services are answered: its own gateway, else one of the authority (the landing database)."""
    gateways = Node.objects.filter(kind=NodeKind.GATEWAY).exclude(state=NodeState.RETIRED).order_by("id")
    own = gateways.filter(organisation=provider).first()
    return own or gateways.filter(organisation__is_authority=True).first()


@transaction.atomic
def suspend_node(node: Node, *, by: Post, reason: str) -> Node:
    """Its calls are refused from now on; commands wait."""
    return _change(node, NodeState.SUSPENDED, by=by, verb="suspend", reason=reason)


@transaction.atomic
def resume_node(node: Node, *, by: Post) -> Node:
    return _change(node, NodeState.ACTIVE, by=by, verb="resume", only_from=NodeState.SUSPENDED)


@transaction.atomic
def retire_node(node: Node, *, by: Post, reason: str) -> Node:
    """For good. Raises NodeInUse while runs go through it."""
    live = Run.objects.filter(
        state__in=(RunState.QUEUED, RunState.EXTRACTING, RunState.DELIVERING), commands__node=node
    )
    if count := live.distinct().count():
        raise NodeInUse(node=node.number, count=count)
    return _change(node, NodeState.RETIRED, by=by, verb="retire", reason=reason)


def _change(
    node: Node, state: NodeState, *, by: Post, verb: str, reason: str = "", only_from: NodeState | None = None
) -> Node:
    node = _locked(node)
    rules.check_may_manage_node(by, node)
    if only_from is not None and node.state != only_from:
        raise NodeStateWrong(node=node.number, state=str(node.get_state_display()))
    _move(node, state)
    node.save(update_fields=["state"])
    if state != NodeState.ACTIVE:
        workflow.finish_todos(trail.subject(node), by=by, kinds=[SILENCE, APPROVAL])
    trail.record(f"exchange.node.{verb}", by=by.actor, about=trail.subject(node), reason=reason)
    return node


def alert_silent_nodes(listening_s: float = math.inf) -> int:
    """A to-do for the department of each node that has not been heard for ten minutes, once per silence. Gives their count.

    A node whose words are carried by bundles is not expected every minute. `listening_s`: for how long the platform has been
    there to be heard from; nothing is said of a silence that began before."""
    if listening_s < SILENT_AFTER_S:
        return 0
    limit = moments.now() - timedelta(seconds=SILENT_AFTER_S)
    silent = Node.objects.filter(state=NodeState.ACTIVE, seen_at__lt=limit, silence_noticed_at=None, bundles=None)
    return sum(_alert(node.pk, limit) for node in silent)


@transaction.atomic
def _alert(node_id: int, limit: datetime) -> bool:
    node = _locked(Node(pk=node_id))
    if (
        node.state != NodeState.ACTIVE
        or node.silence_noticed_at is not None
        or node.seen_at is None
        or node.seen_at >= limit
    ):
        return False
    node.silence_noticed_at = moments.now()
    node.save(update_fields=["silence_noticed_at"])
    workflow.open_todo(
        kind=SILENCE,
        title=_("节点“%(name)s”失去联系") % {"name": node.name},
        organisation=node.organisation,
        role=Role.DEPARTMENT_ADMINISTRATOR,
        about=trail.subject(node),
    )
    trail.record(
        SILENCE, by=trail.SYSTEM, about=trail.subject(node), outcome=Outcome.FAILED, seen_at=node.seen_at.isoformat()
    )
    return True


def heard(node: Node) -> None:
    """A call of the node came: the silence is over. The caller holds the row's lock and saves the other fields."""
    if node.silence_noticed_at is not None:
        node.silence_noticed_at = None
        workflow.finish_todos(trail.subject(node), by=None, kinds=[SILENCE])
        trail.record("exchange.node.heard_again", by=node_actor(node), about=trail.subject(node))
    node.seen_at = moments.now()

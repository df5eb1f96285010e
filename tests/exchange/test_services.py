"""Query services, keys and the policy that gateways enforce."""

from datetime import timedelta

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import (
    ApplicationOfAnother,
    KeyAlreadyRevoked,
    NodeKindWrong,
    NodeNotActive,
    NotYourApplication,
    NotYourService,
    ServiceStateWrong,
)
from jinqiao.exchange.models import ApplicationKey, PolicyVersion, QueryService
from jinqiao.exchange.queries.policy import why_not_served
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.sharing import actions as sharing_actions
from jinqiao.sharing.models import Grant
from tests.exchange.factories import Served, make_node
from tests.factories import make_application, make_post

pytestmark = pytest.mark.django_db


def settings(**changes: object) -> actions.ServiceSettings:
    return actions.ServiceSettings(**{"operations": (Operation.QUERY,), **changes})  # type: ignore[arg-type]


def test_the_policy_says_what_the_grant_says_in_columns(served: Served) -> None:
    policy = served.policy()
    assert policy is not None

    (service,) = policy.services
    assert service.service == served.service.number
    assert [(item.code, item.column) for item in service.grant.items] == [
        ("xm", "name"),
        ("sfzh", "id_card"),
        ("djrq", "reg_date"),
    ]
    assert service.key_items == ("sfzh",)
    assert service.applications == (served.application.number,)
    assert service.grant.purposes == ("公租房资格审核",)
    assert service.grant.case_number_required
    assert served.gateway.identity.unseal(service.connection.sealed_password) == b"s3cret-of-the-source"


def test_the_secret_of_a_key_is_readable_for_its_gateway_and_nobody_else(served: Served) -> None:
    policy = served.policy()
    assert policy is not None
    (application,) = policy.applications
    (key,) = application.keys

    assert served.gateway.identity.unseal(key.sealed_secret).decode() == served.secret
    assert key.algorithm == "hmac-sha256"
    assert served.secret not in repr(list(ApplicationKey.objects.values()))
    assert not AuditEvent.objects.filter(details__icontains=served.secret).exists()


def test_a_policy_is_made_anew_only_when_its_content_changes(served: Served) -> None:
    first = served.policy()
    assert first is not None
    assert served.policy(after=first.version) is None
    assert served.policy(after=0) == first
    actions.set_service(served.service, settings(row_cap=5), by=served.world.parties.clerk)

    second = served.policy(after=first.version)

    assert second is not None
    assert (second.version, second.services[0].row_cap) == (first.version + 1, 5)
    assert PolicyVersion.objects.count() == 2


def test_a_policy_that_grows_old_is_renewed(served: Served) -> None:
    first = served.policy()
    assert first is not None
    PolicyVersion.objects.update(expires_at=moments.now() + timedelta(hours=1))

    second = served.policy(after=first.version)

    assert second is not None
    assert second.expires_at > moments.now() + timedelta(hours=23)


def test_a_platform_restored_from_a_backup_goes_on_after_what_the_gateway_has(served: Served) -> None:
    policy = served.policy(after=41)

    assert policy is not None
    assert policy.version == 42


def test_a_suspended_grant_leaves_the_policy_and_comes_back(served: Served) -> None:
    head = served.world.parties.provider_head
    first = served.policy()
    grant = sharing_actions.suspend_grant(served.grant, by=head, reason="核查用途")

    second = served.policy(after=first.version if first else 0)
    assert second is not None
    assert (second.services, second.applications) == ((), ())

    sharing_actions.resume_grant(grant, by=head, reason="核查完毕")
    third = served.policy(after=second.version)
    assert third is not None
    assert len(third.services) == 1


@pytest.mark.parametrize("state", ["revoked", "expired", "replaced"])
def test_a_grant_that_is_over_is_in_no_policy(served: Served, state: str) -> None:
    Grant.objects.filter(pk=served.grant.pk).update(state=state)

    policy = served.policy()
    assert policy is not None
    assert policy.services == ()


def test_a_grant_past_its_last_day_is_explained_for_a_month_under_terms_that_refuse_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_after = served.grant.valid_until + timedelta(days=1)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", day_after.isoformat())

    policy = served.policy()
    assert policy is not None
    assert [service.grant.is_live(day_after) for service in policy.services] == [False]
    assert why_not_served(QueryService.objects.get(pk=served.service.pk)) is not None

    monkeypatch.setenv("JINQIAO_FIXED_DATE", (day_after + timedelta(days=30)).isoformat())
    later = served.policy(after=policy.version)
    assert later is not None
    assert later.services == ()


def test_a_grant_past_its_last_day_is_in_no_policy_before_it_is_marked(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2027-06-01")

    policy = served.policy()
    assert policy is not None
    assert policy.services == ()


def test_a_batch_grant_makes_no_service_in_the_policy(served: Served) -> None:
    served.world.grant()

    policy = served.policy()
    assert policy is not None
    assert len(policy.services) == 1


def test_another_gateway_sees_nothing_of_it(served: Served) -> None:
    other = make_node(served.world.parties.consumer, NodeKind.GATEWAY)
    policy = Served(**{**served.__dict__, "gateway": other}).policy()

    assert policy is not None
    assert (policy.services, policy.applications) == ((), ())


def test_a_lookup_item_that_is_not_granted_keeps_the_service_out(served: Served) -> None:
    grant = served.world.grant(mode="interface", items=["xm"])
    service = QueryService.objects.get(grant=grant)

    policy = served.policy()
    assert policy is not None
    assert service.number not in {service.service for service in policy.services}
    assert str(why_not_served(service)) == "查询条件不在授权的数据项里"
    assert why_not_served(served.service) is None


def test_a_password_that_the_gateway_cannot_open_keeps_the_service_out(served: Served) -> None:
    source = served.world.source
    source.gateway_sealed_password = ""
    source.save()
    assert "重新录入" in str(why_not_served(served.service))

    actions.change_password(source, by=served.world.parties.clerk, password="s3cret-of-the-source")

    assert why_not_served(served.service) is None


def test_a_suspended_service_says_so_in_the_policy(served: Served) -> None:
    actions.suspend_service(served.service, by=served.world.provider_admin, reason="源库维护")
    policy = served.policy()
    assert policy is not None
    assert policy.services[0].suspended

    with pytest.raises(ServiceStateWrong):
        actions.suspend_service(served.service, by=served.world.provider_admin, reason="再次")
    actions.resume_service(served.service, by=served.world.admin)
    policy = served.policy()
    assert policy is not None
    assert not policy.services[0].suspended


def test_a_revoked_key_leaves_the_policy(served: Served) -> None:
    actions.revoke_key(served.key, by=served.developer)

    policy = served.policy()
    assert policy is not None
    assert policy.applications[0].keys == ()
    with pytest.raises(KeyAlreadyRevoked):
        actions.revoke_key(served.key, by=served.developer)


def test_an_application_that_is_suspended_may_not_call(served: Served) -> None:
    served.application.state = "suspended"
    served.application.save()

    policy = served.policy()
    assert policy is not None
    assert (policy.applications, policy.services[0].applications) == ((), ())


def test_a_detached_application_may_not_call(served: Served) -> None:
    actions.detach_application(served.service, served.application, by=served.world.parties.asker)

    policy = served.policy()
    assert policy is not None
    assert policy.services[0].applications == ()


def test_only_the_consumers_own_applications_are_attached(served: Served) -> None:
    stranger = make_application()
    with pytest.raises(ApplicationOfAnother):
        actions.attach_application(served.service, stranger, by=served.world.parties.asker)
    with pytest.raises(NotYourService):
        actions.attach_application(served.service, served.application, by=served.world.parties.clerk)


def test_a_developer_attaches_the_applications_whose_contact_he_is(served: Served) -> None:
    consumer = served.world.parties.consumer
    own, foreign = make_application(consumer, served.developer.person), make_application(consumer)

    actions.attach_application(served.service, own, by=served.developer)
    actions.detach_application(served.service, own, by=served.developer)
    with pytest.raises(NotYourService):
        actions.attach_application(served.service, foreign, by=served.developer)
    with pytest.raises(NotYourService):
        actions.attach_application(served.service, own, by=make_post(Role.DEVELOPER, served.world.parties.provider))


def test_keys_are_issued_to_the_contact_or_the_administrator(served: Served) -> None:
    gateway, application = served.gateway.node, served.application
    actions.issue_key(application, gateway, by=served.world.admin)
    for stranger in (
        make_post(Role.DEVELOPER, served.world.parties.consumer),
        served.world.parties.asker,
        served.world.provider_admin,
        make_post(Role.DEVELOPER, person=served.developer.person),
    ):
        with pytest.raises(NotYourApplication):
            actions.issue_key(application, gateway, by=stranger)


def test_keys_are_for_gateways_in_use(served: Served) -> None:
    with pytest.raises(NodeKindWrong):
        actions.issue_key(served.application, served.world.provider_node.node, by=served.developer)
    gateway = actions.suspend_node(served.gateway.node, by=served.world.provider_admin, reason="检修")
    with pytest.raises(NodeNotActive):
        actions.issue_key(served.application, gateway, by=served.developer)


def test_a_front_end_node_gets_no_policy(served: Served) -> None:
    with pytest.raises(NodeKindWrong):
        actions.policy_for(served.world.provider_node.node)

"""Applications and their keys on their pages."""

from io import BytesIO

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.accounts.models import Application
from jinqiao.client_wheel import client_wheel
from jinqiao.dataplane.client.keypair import KeyPair
from jinqiao.exchange.enums import NetworkZone, NodeKind, NodeState
from jinqiao.exchange.models import Node
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.identity import Identity
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def developer(browse):
    return browse(Role.DEVELOPER)


@pytest.fixture
def own(developer):
    return factories.make_application(developer.post_in.organisation, developer.post_in.person, name="婚姻登记")


@pytest.fixture
def gateway():
    identity = Identity.generate()
    return Node.objects.create(
        number="gateway-1",
        name="市级查询网关",
        kind=NodeKind.GATEWAY,
        organisation=factories.make_authority(),
        zone=NetworkZone.EXTRANET,
        state=NodeState.ACTIVE,
        identity=identity.public.to_json(),
        key_id=identity.public.key_id,
    )


def test_an_application_is_registered_and_gets_a_number(developer):
    body = developer.post_in.organisation
    address = reverse("accounts:application_new")
    assert developer.get(address).status_code == 200

    for name in ("婚姻登记", "低保审批"):
        developer.post(address, {"name": name, "contact": developer.post_in.person_id})

    numbers = list(Application.objects.order_by("number").values_list("number", flat=True))
    assert numbers == [f"APP-{body.credit_code[8:17]}-001", f"APP-{body.credit_code[8:17]}-002"]


def test_a_contact_is_chosen_among_the_own_people(developer):
    response = developer.post(
        reverse("accounts:application_new"), {"name": "婚姻登记", "contact": factories.make_post().person_id}
    )

    assert list(response.context["form"].errors) == ["contact"]


def test_another_organisations_application_is_not_seen(developer, own):
    other = factories.make_application(name="别人的")

    page = developer.get(reverse("accounts:applications")).content.decode()

    assert "婚姻登记" in page
    assert "别人的" not in page
    assert developer.get(reverse("accounts:application", args=[other.pk])).status_code == 404
    assert developer.post(reverse("accounts:application_state", args=[other.pk, "suspend"])).status_code == 404


def test_an_application_is_suspended_resumed_and_retired_for_good(developer, own):
    def change(state):
        return developer.post(reverse("accounts:application_state", args=[own.pk, state])).status_code

    assert developer.get(reverse("accounts:application_state", args=[own.pk, "suspend"])).status_code == 200
    assert [change("suspend"), change("suspend"), change("resume"), change("retire")] == [302, 409, 302, 302]
    assert change("resume") == 409
    own.refresh_from_db()
    assert own.state == ApplicationState.RETIRED


def test_a_key_is_shown_once_and_revoked(developer, own, gateway):
    page = reverse("accounts:application", args=[own.pk])
    assert reverse("accounts:key_new", args=[own.pk]) in developer.get(page).content.decode()

    response = developer.post(
        reverse("accounts:key_new", args=[own.pk]), {"gateway": gateway.pk, "algorithm": "hmac-sha256"}
    )

    key = own.keys.get()
    secret = response.context["secret"]
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert secret not in key.sealed_secret
    assert secret not in developer.get(page).content.decode()
    address = reverse("accounts:key_revoke", args=[key.pk])
    assert developer.get(address).status_code == 200
    assert developer.post(address).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_key_is_replaced_with_an_overlap(developer, own, gateway):
    page = reverse("accounts:key_new", args=[own.pk])
    developer.post(page, {"gateway": gateway.pk, "algorithm": "hmac-sm3"})
    old = own.keys.get()
    wanted = {"gateway": gateway.pk, "algorithm": "hmac-sm3", "replaces": old.pk}

    assert list(developer.post(page, wanted).context["form"].errors) == ["until"]
    assert list(developer.post(page, {**wanted, "until": "2026-03-01T08:00"}).context["form"].errors) == ["until"]
    developer.post(page, {**wanted, "until": "2026-03-25T18:00"})

    old.refresh_from_db()
    assert own.keys.count() == 2
    assert old.not_after.astimezone(moments.CHINA).isoformat() == "2026-03-25T18:00:00+08:00"


def test_a_public_key_is_registered_by_a_signature_over_the_challenge_of_the_page(developer, own, gateway):
    page = reverse("accounts:key_register", args=[own.pk])
    pair = KeyPair.generate("sm2-sm3")
    challenge = developer.get(page).context["challenge"]
    wanted = {
        "gateway": gateway.pk,
        "algorithm": "sm2-sm3",
        "public_key": pair.public_pem,
        "challenge": challenge,
        "signature": pair.sign(challenge.encode()).hex(),
    }

    assert list(developer.post(page, {**wanted, "signature": "00"}).context["form"].errors) == ["signature"]
    assert list(developer.post(page, {**wanted, "public_key": "00"}).context["form"].errors) == ["public_key"]
    refused = developer.post(page, {**wanted, "challenge": "made up"})
    assert list(refused.context["form"].errors) == ["signature"]
    assert refused.context["challenge"] != "made up"
    assert developer.post(page, wanted).status_code == 302
    assert own.keys.get().public_key == pair.public.hex()


def test_from_where_an_application_may_call_is_kept_in_one_form(developer, own):
    page = reverse("accounts:application_access", args=[own.pk])
    fingerprint = ":".join(["AB"] * 32)
    for wrong, field in (
        ({"addresses": "10.8.0.1/16"}, "addresses"),
        ({"addresses": "\n".join(f"10.8.0.{n}" for n in range(51))}, "addresses"),
        ({"certificates": "AB:CD"}, "certificates"),
    ):
        assert list(developer.post(page, wrong).context["form"].errors) == [field]

    developer.post(
        page, {"addresses": "10.8.0.0/16\n\n10.9.1.7", "certificates": fingerprint, "national_id": "rid_demo"}
    )

    own.refresh_from_db()
    assert own.addresses == ["10.8.0.0/16", "10.9.1.7/32"]
    assert own.certificates == ["ab" * 32]
    assert own.national_id == "rid_demo"
    text = developer.get(reverse("accounts:application", args=[own.pk])).content.decode()
    assert "10.8.0.0/16、10.9.1.7/32" in text
    other = factories.make_application(own.organisation, own.contact)
    again = reverse("accounts:application_access", args=[other.pk])
    assert list(developer.post(again, {"national_id": "rid_demo"}).context["form"].errors) == ["national_id"]


def test_a_colleague_who_is_not_the_contact_gets_no_key(browse, own, gateway):
    colleague = browse(factories.make_post(Role.DEVELOPER, own.organisation))

    assert colleague.get(reverse("accounts:key_new", args=[own.pk])).status_code == 403
    assert (
        colleague.post(
            reverse("accounts:key_new", args=[own.pk]), {"gateway": gateway.pk, "algorithm": "hmac-sha256"}
        ).status_code
        == 403
    )


def test_another_organisations_key_cannot_be_revoked(browse, developer, own, gateway):
    developer.post(reverse("accounts:key_new", args=[own.pk]), {"gateway": gateway.pk, "algorithm": "hmac-sha256"})
    stranger = browse(Role.DEVELOPER)

    assert stranger.post(reverse("accounts:key_revoke", args=[own.keys.get().pk])).status_code == 404


def test_the_bureau_sees_all_and_changes_nothing(browse, own):
    bureau = browse(Role.BUREAU)

    assert "婚姻登记" in bureau.get(reverse("accounts:applications")).content.decode()
    assert "停用应用" not in bureau.get(reverse("accounts:application", args=[own.pk])).content.decode()


def test_filters_and_export_agree(developer, own):
    factories.make_application(developer.post_in.organisation, developer.post_in.person, name="低保审批")
    address = reverse("accounts:applications")

    response = developer.get(address, {"q": "婚姻", "state": "active", "export": "xlsx"})

    rows = list(openpyxl.load_workbook(BytesIO(response.getvalue())).active.values)
    assert [row[1] for row in rows[1:]] == ["婚姻登记"]


def test_the_list_costs_the_same_for_one_and_for_many(developer, own, django_assert_max_num_queries):
    address = reverse("accounts:applications")
    developer.get(address)
    with django_assert_max_num_queries(14) as few:
        developer.get(address)
    for _ in range(10):
        factories.make_application(own.organisation, own.contact)
    with django_assert_max_num_queries(len(few)):
        developer.get(address)


def test_the_page_hands_out_the_client_as_a_wheel(developer, own):
    address = reverse("accounts:client_package")
    assert f'href="{address}"' in developer.get(reverse("accounts:application", args=[own.pk])).content.decode()

    answer = developer.get(address)

    assert answer["Content-Disposition"] == f'attachment; filename="{client_wheel().name}"'
    assert answer.content == client_wheel().content

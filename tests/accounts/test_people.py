"""People, posts and the separation of the three administrators."""

from datetime import date, timedelta

import pytest

from jinqiao.accounts import actions, errors, queries, rules
from jinqiao.accounts.enums import THREE_ADMINISTRATORS, Role
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel import moments
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def security():
    return factories.make_post(Role.SECURITY_ADMINISTRATOR)


@pytest.fixture
def system():
    return factories.make_post(Role.SYSTEM_ADMINISTRATOR)


def test_nobody_holds_two_of_the_three_administrators(security):
    holder = factories.make_post(Role.AUDIT_ADMINISTRATOR)

    for wanted in THREE_ADMINISTRATORS - {Role.AUDIT_ADMINISTRATOR}:
        with pytest.raises(errors.HoldsAnotherAdministrator):
            actions.appoint(by=security, person=holder.person, organisation=factories.make_organisation(), role=wanted)


def test_an_administrator_holds_no_business_role_and_the_other_way_round(security):
    administrator, operator = factories.make_post(Role.SYSTEM_ADMINISTRATOR), factories.make_post(Role.OPERATOR)

    with pytest.raises(errors.AdministratorHasBusiness):
        actions.appoint(
            by=security, person=administrator.person, organisation=administrator.organisation, role=Role.HEAD
        )
    with pytest.raises(errors.AdministratorHasBusiness):
        actions.appoint(
            by=security, person=operator.person, organisation=operator.organisation, role=Role.AUDIT_ADMINISTRATOR
        )


def test_a_post_that_begins_later_counts_for_the_separation(security):
    person = factories.make_person()
    later = moments.today() + timedelta(days=30)
    body = factories.make_organisation()
    actions.appoint(by=security, person=person, organisation=body, role=Role.AUDIT_ADMINISTRATOR, starts_on=later)

    with pytest.raises(errors.AdministratorHasBusiness):
        actions.appoint(by=security, person=person, organisation=body, role=Role.OPERATOR)


def test_an_ended_administrator_may_take_a_business_role(security):
    factories.make_post(Role.SYSTEM_ADMINISTRATOR)
    former = factories.make_post(Role.SYSTEM_ADMINISTRATOR)
    actions.end_post(former, by=security)

    post = actions.appoint(by=security, person=former.person, organisation=former.organisation, role=Role.OPERATOR)

    assert list(queries.live_posts(former.person)) == [post]


@pytest.mark.parametrize("role", sorted(THREE_ADMINISTRATORS))
def test_the_last_administrator_of_a_kind_stays(role, security, system):
    post = {
        Role.SECURITY_ADMINISTRATOR: security,
        Role.SYSTEM_ADMINISTRATOR: system,
    }.get(role) or factories.make_post(role)

    with pytest.raises(errors.LastAdministrator) as refused:
        actions.end_post(post, by=security)
    with pytest.raises(errors.LastAdministrator):
        actions.close_person(post.person, by=system)

    assert "{" not in refused.value.text("zh").message
    assert "{" not in refused.value.text("en").message
    assert AuditEvent.objects.count() == 0


def test_an_audit_administrator_with_a_successor_can_be_ended(security):
    first, second = factories.make_post(Role.AUDIT_ADMINISTRATOR), factories.make_post(Role.AUDIT_ADMINISTRATOR)

    actions.end_post(first, by=security)

    assert list(queries.holders_of_role(Role.AUDIT_ADMINISTRATOR)) == [second]


def test_a_successor_whose_account_is_closed_does_not_count(security):
    first, second = factories.make_post(Role.AUDIT_ADMINISTRATOR), factories.make_post(Role.AUDIT_ADMINISTRATOR)
    second.person.is_active = False
    second.person.save()

    with pytest.raises(errors.LastAdministrator):
        actions.end_post(first, by=security)


def test_ending_a_post_cuts_it_off_at_once_and_appointing_again_opens_it(security):
    post = factories.make_post(Role.OPERATOR)

    actions.end_post(post, by=security)

    assert queries.acting_post(post.person, post.pk) is None
    with pytest.raises(errors.PostEnded):
        actions.end_post(post, by=security)
    again = actions.appoint(by=security, person=post.person, organisation=post.organisation, role=Role.OPERATOR)
    assert again.pk == post.pk
    assert queries.acting_post(post.person, post.pk) == again


def test_the_same_post_is_not_given_twice(security):
    post = factories.make_post(Role.OPERATOR)

    with pytest.raises(errors.PostStands):
        actions.appoint(by=security, person=post.person, organisation=post.organisation, role=Role.OPERATOR)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SECURITY_ADMINISTRATOR])
def test_only_the_security_administrator_appoints(role):
    by, person = factories.make_post(role), factories.make_person()

    with pytest.raises(errors.NotAdministrator):
        actions.appoint(by=by, person=person, organisation=by.organisation, role=Role.OPERATOR)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM_ADMINISTRATOR])
def test_only_the_system_administrator_makes_accounts(role):
    by = factories.make_post(role)

    with pytest.raises(errors.NotAdministrator):
        actions.add_person(by=by, username="new.one", name="新人")


def test_a_contractor_needs_an_end_date(system):
    with pytest.raises(errors.ContractorWithoutEnd):
        actions.add_person(by=system, username="vendor1", name="外包员", employer="某公司")

    person = actions.add_person(
        by=system, username="vendor1", name="外包员", employer="某公司", valid_until=moments.today()
    )
    assert person.may_sign_in_on(moments.today())
    assert not person.may_sign_in_on(moments.today() + timedelta(days=1))


def test_login_names_are_checked_and_unique_without_regard_to_case(system):
    actions.add_person(by=system, username="li.na", name="李娜")

    with pytest.raises(errors.UsernameTaken):
        actions.add_person(by=system, username="LI.NA", name="李娜")
    with pytest.raises(errors.UsernameMalformed):
        actions.add_person(by=system, username="李 娜", name="李娜")


def test_terms_must_end_after_they_begin(security):
    person, body = factories.make_person(), factories.make_organisation()

    with pytest.raises(errors.PostDates):
        actions.appoint(
            by=security,
            person=person,
            organisation=body,
            role=Role.OPERATOR,
            starts_on=date(2026, 5, 1),
            ends_on=date(2026, 4, 1),
        )


def test_a_section_of_another_organisation_is_refused(security):
    person, body = factories.make_person(), factories.make_organisation()

    with pytest.raises(errors.SectionElsewhere):
        actions.appoint(
            by=security, person=person, organisation=body, role=Role.OPERATOR, section=factories.make_section()
        )


def test_the_chosen_post_is_acted_in_while_it_is_live():
    person = factories.make_person()
    first, second = factories.make_post(person=person), factories.make_post(person=person)

    assert queries.acting_post(person, second.pk) == second
    assert queries.acting_post(person, factories.make_post().pk) == first
    assert queries.acting_post(factories.make_person(), None) is None


def test_posts_before_their_start_or_after_their_end_are_not_live():
    today = moments.today()
    person = factories.make_person()
    factories.make_post(person=person, starts_on=today + timedelta(days=1))
    factories.make_post(person=person, ends_on=today)
    last_day = factories.make_post(person=person, ends_on=today + timedelta(days=1))

    assert list(queries.live_posts(person)) == [last_day]


def test_an_account_past_its_end_has_no_live_post_and_cannot_sign_in(sign_in):
    yesterday = moments.today() - timedelta(days=1)
    person = factories.make_person(employer="某公司", valid_until=yesterday, username="gone")
    post = factories.make_post(person=person)

    assert queries.acting_post(person, post.pk) is None
    assert list(queries.holders(post.organisation, Role.OPERATOR)) == []
    assert sign_in("gone", factories.PASSWORD) is None


def test_every_act_leaves_an_event_without_personal_values(system, security):
    person = actions.add_person(by=system, username="wang.wu", name="王五", mobile="13900000000")
    actions.edit_person(person, by=system, name="王五", mobile="13911111111")
    actions.appoint(by=security, person=person, organisation=system.organisation, role=Role.OPERATOR)

    names = list(AuditEvent.objects.order_by("number").values_list("action", flat=True))
    assert names == ["accounts.person.add", "accounts.person.edit", "accounts.post.appoint"]
    assert not any("139" in str(event.details) for event in AuditEvent.objects.all())


def test_the_rule_of_separation_reads_without_a_database():
    assert rules.may_hold([Role.OPERATOR], Role.DEPARTMENT_ADMINISTRATOR)
    assert rules.may_hold([Role.AUDIT_ADMINISTRATOR], Role.AUDIT_ADMINISTRATOR)
    assert not rules.may_hold([Role.OPERATOR], Role.AUDIT_ADMINISTRATOR)
    assert not rules.may_hold([Role.AUDITOR], Role.AUDIT_ADMINISTRATOR)

"""Regions, organisations, sections and applications."""

import threading

import pytest
from django.db import connection

from jinqiao.accounts import actions, errors, queries
from jinqiao.accounts.enums import ApplicationState, OrganisationKind, RegionLevel, Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.errors import CheckDigitWrong, IdentifierInvalid
from tests import factories


@pytest.fixture
def system(db):
    return factories.make_post(Role.SYSTEM_ADMINISTRATOR)


def _add(by, number=4711, **changes):
    fields = {
        "credit_code": factories.credit_code(number),
        "name": "金昌市水务局",
        "short_name": "市水务局",
        "kind": OrganisationKind.DEPARTMENT,
        "region": factories.make_region(),
        **changes,
    }
    return actions.add_organisation(by=by, **fields)


@pytest.mark.parametrize("number", [1, 42, 99887766])
def test_made_credit_codes_are_valid(number):
    assert UnifiedSocialCreditCode.parse(factories.credit_code(number)).value == factories.credit_code(number)


def test_an_organisation_is_known_by_a_valid_credit_code(system):
    body = _add(system, credit_code=factories.credit_code(4711).lower())

    assert body.credit_code == factories.credit_code(4711)
    wrong = factories.credit_code(4712)
    with pytest.raises(CheckDigitWrong):
        _add(system, credit_code=wrong[:-1] + ("0" if wrong[-1] != "0" else "1"))


@pytest.mark.parametrize("changes", [{"name": "金昌市农业农村局"}, {"number": 4712}])
def test_code_and_name_are_given_once(changes, system):
    _add(system)

    with pytest.raises(errors.OrganisationStands):
        _add(system, **changes)


def test_a_region_has_one_authority_and_those_below_share_it(system):
    authority = factories.make_authority()
    county = actions.add_region(
        by=system, code="620321", name="永昌县", level=RegionLevel.COUNTY, parent=authority.region
    )

    with pytest.raises(errors.AuthorityStands):
        _add(system, is_authority=True)
    assert queries.authority_of(county) == authority
    own = _add(system, is_authority=True, region=county)
    assert queries.authority_of(county) == own


def test_division_codes_exist_and_are_registered_once(system):
    factories.make_region()

    with pytest.raises(errors.RegionStands):
        actions.add_region(by=system, code="620300", name="金昌市", level=RegionLevel.CITY)
    with pytest.raises(IdentifierInvalid):
        actions.add_region(by=system, code="999999", name="没有", level=RegionLevel.CITY)


def test_only_what_changed_is_written_and_named_in_the_trail(system):
    body = _add(system)
    values = {
        "name": body.name,
        "short_name": "水务局",
        "kind": body.kind,
        "parent": None,
        "is_authority": False,
        "position": 0,
    }

    actions.edit_organisation(body, by=system, **values)
    actions.edit_organisation(body, by=system, **values)

    assert AuditEvent.objects.get(action="accounts.organisation.edit").details == {"fields": ["short_name"]}


def test_the_tree_has_parents_before_children_and_counts_people(system):
    top = factories.make_organisation(position=0)
    child = factories.make_organisation(parent=top)
    person = factories.make_post(organisation=child).person
    factories.make_post(Role.HEAD, child, person)

    tree = {branch.organisation: (branch.depth, branch.people) for branch in queries.organisation_tree()}

    assert tree[top] == (0, 0)
    assert tree[child] == (1, 1)
    assert list(tree).index(top) < list(tree).index(child)


def test_applications_belong_to_their_organisation(system):
    developer = factories.make_post(Role.DEVELOPER)
    stranger = factories.make_post(Role.DEVELOPER)

    with pytest.raises(errors.NotAdministrator):
        actions.register_application(
            by=stranger, organisation=developer.organisation, name="x", contact=developer.person
        )
    with pytest.raises(errors.ContactElsewhere):
        actions.register_application(
            by=developer, organisation=developer.organisation, name="x", contact=stranger.person
        )
    made = actions.register_application(
        by=developer, organisation=developer.organisation, name="婚姻登记", contact=developer.person
    )

    assert list(queries.applications_for(developer)) == [made]
    assert list(queries.applications_for(stranger)) == []
    assert list(queries.applications_for(factories.make_post(Role.BUREAU))) == [made]
    with pytest.raises(errors.NotAdministrator):
        actions.change_application_state(made, by=stranger, state=ApplicationState.RETIRED)


def test_a_retired_application_stays_retired(system):
    developer = factories.make_post(Role.DEVELOPER)
    application = factories.make_application(developer.organisation, developer.person)
    actions.change_application_state(application, by=developer, state=ApplicationState.RETIRED)

    for state in ApplicationState:
        with pytest.raises(errors.ApplicationMoveImpossible):
            actions.change_application_state(application, by=developer, state=state)


@pytest.mark.django_db(transaction=True)
def test_two_who_end_the_last_two_audit_administrators_at_once_leave_one():
    posts = [factories.make_post(Role.AUDIT_ADMINISTRATOR) for _ in range(2)]
    security = factories.make_post(Role.SECURITY_ADMINISTRATOR)
    begin, outcomes = threading.Barrier(2), []

    def end(post):
        try:
            begin.wait()
            actions.end_post(post, by=security)
            outcomes.append("ended")
        except errors.LastAdministrator:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=(post,)) for post in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["ended", "refused"]
    assert Post.objects.filter(role=Role.AUDIT_ADMINISTRATOR, ends_on__isnull=True).count() == 1

from datetime import date

import pytest
from django.db import IntegrityError, transaction

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.audit.trail import subject
from jinqiao.catalogue import actions, errors, queries
from jinqiao.catalogue.enums import VERSION_MOVES, VersionState
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.catalogue.signals import entry_published, entry_withdrawn
from jinqiao.kernel import moments
from jinqiao.workflow.models import Clock, SignOff, ToDo
from tests.catalogue.factories import (
    ASSESSED,
    FIELDS,
    ITEMS,
    Cast,
    make_draft,
    make_node,
    make_published,
    make_reviewed,
    make_signed,
    make_submitted,
    publish,
    publish_draft,
)
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


def _open(version: EntryVersion) -> list[tuple[str, str]]:
    about = subject(version)
    todos = ToDo.objects.filter(about_type=about.type, about_id=about.id, done_at__isnull=True)
    return [(todo.kind, todo.role) for todo in todos]


def test_every_state_has_its_moves() -> None:
    assert set(VERSION_MOVES) == set(VersionState)


def test_an_entry_goes_from_draft_to_publication_by_four_hands(cast: Cast) -> None:
    version = make_draft(cast, name="企业注册登记信息")
    assert version.state == VersionState.DRAFT
    assert version.rule_set == "rules-2025"

    version = actions.submit(version, by=cast.operator)
    assert _open(version) == [("catalogue.department_review", Role.DEPARTMENT_ADMINISTRATOR)]
    version = actions.review_as_department(version, by=cast.administrator, approved=True, opinion="属实")
    assert _open(version) == [("catalogue.head_signature", Role.HEAD)]
    version = actions.sign_as_head(version, by=cast.head, approved=True, assessments=ASSESSED)
    assert _open(version) == [("catalogue.authority_review", Role.BUREAU)]
    version = actions.review_as_authority(version, by=cast.bureau, approved=True)

    entry = CatalogueEntry.objects.get(pk=version.entry_id)
    assert version.state == VersionState.PUBLISHED
    assert entry.live_version == version
    assert entry.code == "3070110403/1"
    assert _open(version) == []
    assert list(SignOff.objects.values_list("kind", flat=True)) == [
        "catalogue_department", "catalogue_head", "catalogue_authority",
    ]  # fmt: skip
    done = (
        AuditEvent.objects.filter(action__startswith="catalogue.").order_by("number").values_list("action", flat=True)
    )
    assert list(done) == [
        "catalogue.entry.create", "catalogue.version.submit", "catalogue.version.pass_department",
        "catalogue.version.sign_head", "catalogue.entry.publish",
    ]  # fmt: skip


def test_the_authority_has_two_working_days(cast: Cast) -> None:
    version = make_signed(cast)

    clock = Clock.objects.get(key="catalogue.authority_review")
    assert clock.organisation == cast.bureau.organisation
    assert clock.working_days == 2
    assert clock.started_on == moments.today()
    assert ToDo.objects.get(kind="catalogue.authority_review").clock == clock

    publish(version, cast)
    clock.refresh_from_db()
    assert clock.stopped_on == moments.today()


def test_numbers_within_a_class_have_no_gaps_and_classes_count_apart(cast: Cast) -> None:
    other = make_node("3070110404", "白银市")
    codes = [make_published(cast).code, make_published(cast).code, make_published(cast, node=other).code]
    actions.withdraw(CatalogueEntry.objects.get(code=codes[1]), by=cast.administrator, reason="职能划转")
    codes.append(make_published(cast).code)

    assert codes == ["3070110403/1", "3070110403/2", "3070110404/1", "3070110403/3"]


def test_the_live_version_stays_while_a_draft_changes(cast: Cast) -> None:
    entry = make_published(cast, name="企业注册登记信息")
    draft = actions.start_revision(entry, by=cast.operator)
    actions.save_draft(
        draft, by=cast.operator, fields={"name": "企业登记信息", "abstract": "改过的摘要"}, items=ITEMS[:2]
    )

    entry = queries.published().get()
    assert entry.live_version is not None
    assert entry.live_version.name == "企业注册登记信息"
    assert entry.live_version.items.count() == len(ITEMS)

    published = publish_draft(EntryVersion.objects.get(pk=draft.pk), cast)
    assert published.live_version is not None
    assert published.live_version.name == "企业登记信息"
    assert published.live_version.items.count() == 2
    assert published.code == entry.code
    assert [v.state for v in published.versions.order_by("number")] == ["superseded", "published"]


def test_a_revision_carries_the_content_but_not_the_assessments(cast: Cast) -> None:
    entry = make_published(cast)
    draft = actions.start_revision(entry, by=cast.operator)

    assert draft.number == 2
    assert [item.name for item in draft.items.all()] == [item["name"] for item in ITEMS]
    assert not draft.secrecy_risk_assessed
    assert not draft.personal_information_assessed


def test_only_one_version_is_in_work(cast: Cast) -> None:
    entry = make_published(cast)
    actions.start_revision(entry, by=cast.operator)

    with pytest.raises(errors.RevisionInWork):
        actions.start_revision(entry, by=cast.operator)
    with pytest.raises(IntegrityError), transaction.atomic():
        EntryVersion.objects.create(
            entry=entry,
            number=9,
            state="draft",
            rule_set="rules-2025",
            compiled_by=cast.operator,
            changed_at=moments.now(),
        )


def test_a_change_of_law_starts_the_clock_of_the_update_and_publication_stops_it(cast: Cast) -> None:
    entry = make_published(cast)
    draft = actions.start_revision(entry, by=cast.operator, changed_on=date(2026, 3, 10))

    clock = Clock.objects.get(key="catalogue.update")
    assert (clock.working_days, clock.started_on, clock.organisation) == (10, date(2026, 3, 10), cast.organisation)

    publish_draft(draft, cast)
    clock.refresh_from_db()
    assert clock.stopped_on == moments.today()


@pytest.mark.parametrize("step", ["department", "head", "authority"])
def test_each_reviewer_may_return_it_with_a_reason(cast: Cast, step: str) -> None:
    if step == "department":
        version = actions.review_as_department(
            make_submitted(cast), by=cast.administrator, approved=False, opinion="缺项"
        )
    elif step == "head":
        version = actions.sign_as_head(make_reviewed(cast), by=cast.head, approved=False, opinion="缺项")
    else:
        version = actions.review_as_authority(make_signed(cast), by=cast.bureau, approved=False, opinion="缺项")

    assert version.state == VersionState.RETURNED
    assert version.return_reason == "缺项"
    assert _open(version) == [("catalogue.returned", Role.OPERATOR)]
    version = actions.save_draft(version, by=cast.operator, fields={"abstract": "补充后的摘要"})
    version = actions.submit(version, by=cast.operator)
    assert version.state == VersionState.DEPARTMENT_REVIEW
    assert version.return_reason == ""


def test_returning_needs_a_reason(cast: Cast) -> None:
    with pytest.raises(errors.ReasonMissing):
        actions.review_as_department(make_submitted(cast), by=cast.administrator, approved=False, opinion="  ")
    assert EntryVersion.objects.get().state == VersionState.DEPARTMENT_REVIEW


def test_an_incomplete_draft_is_kept_but_not_submitted(cast: Cast) -> None:
    version = actions.create_entry(by=cast.operator, node=make_node(), fields={"name": "婚姻登记系统"})

    with pytest.raises(errors.Findings) as caught:
        actions.submit(version, by=cast.operator)

    codes = {finding.code for finding in caught.value.findings}
    assert {"catalogue.field.missing", "catalogue.name.is_system", "catalogue.field.grading_missing"} <= codes
    assert {finding.details["field"] for finding in caught.value.findings} >= {
        "abstract",
        "format_class",
        "data_level",
        "means",
    }


def test_a_name_is_taken_also_with_other_spaces_and_punctuation(cast: Cast) -> None:
    make_published(cast, name="企业注册登记信息")
    version = make_draft(cast, name="企业注册 登记（信息）")

    with pytest.raises(errors.Findings) as caught:
        actions.submit(version, by=cast.operator)
    assert [finding.code for finding in caught.value.findings] == ["catalogue.name.taken"]


def test_the_head_signs_only_with_both_assessments(cast: Cast) -> None:
    version = make_reviewed(cast)

    with pytest.raises(errors.Findings) as caught:
        actions.sign_as_head(version, by=cast.head, approved=True)

    assert [finding.details["field"] for finding in caught.value.findings] == [
        "secrecy_risk_assessed", "personal_information_assessed", "personal_information",
    ]  # fmt: skip
    assert EntryVersion.objects.get().state == VersionState.HEAD_SIGNATURE


def test_nothing_is_published_without_the_heads_signature_on_this_content(cast: Cast) -> None:
    version = make_signed(cast)
    EntryVersion.objects.filter(pk=version.pk).update(abstract="签发后被改过")

    with pytest.raises(errors.HeadSignatureMissing):
        publish(version, cast)

    EntryVersion.objects.filter(pk=version.pk).update(abstract=FIELDS["abstract"])
    SignOff.objects.filter(kind="catalogue_head").delete()
    with pytest.raises(errors.HeadSignatureMissing):
        publish(version, cast)
    assert queries.published().count() == 0


def test_nobody_reviews_what_they_compiled(cast: Cast) -> None:
    person = cast.operator.person
    version = make_submitted(cast)

    with pytest.raises(errors.OwnWork):
        actions.review_as_department(
            version, by=make_post(Role.DEPARTMENT_ADMINISTRATOR, cast.organisation, person), approved=True
        )
    version = actions.review_as_department(version, by=cast.administrator, approved=True)
    with pytest.raises(errors.OwnWork):
        actions.sign_as_head(
            version, by=make_post(Role.HEAD, cast.organisation, person), approved=True, assessments=ASSESSED
        )


def test_another_department_neither_changes_nor_reviews(cast: Cast) -> None:
    other = make_organisation()
    draft = make_draft(cast)
    with pytest.raises(errors.NotProvider):
        actions.save_draft(draft, by=make_post(Role.OPERATOR, other), fields={"name": "别人的"})
    version = actions.submit(draft, by=cast.operator)
    with pytest.raises(errors.NotProvider):
        actions.review_as_department(version, by=make_post(Role.DEPARTMENT_ADMINISTRATOR, other), approved=True)
    with pytest.raises(errors.NotReviewer):
        actions.review_as_department(version, by=cast.head, approved=True)


def test_only_the_providers_authority_publishes(cast: Cast) -> None:
    version = make_signed(cast)
    with pytest.raises(errors.NotAuthority):
        actions.review_as_authority(version, by=make_post(Role.BUREAU, make_organisation()), approved=True)
    with pytest.raises(errors.NotReviewer):
        actions.review_as_authority(version, by=make_post(Role.AUDITOR, cast.bureau.organisation), approved=True)


def test_a_submitted_version_cannot_be_changed(cast: Cast) -> None:
    version = make_submitted(cast)
    with pytest.raises(errors.VersionNotReady):
        actions.save_draft(version, by=cast.operator, fields={"abstract": "偷改"})
    with pytest.raises(errors.VersionNotReady):
        actions.submit(version, by=cast.operator)
    with pytest.raises(errors.VersionNotReady):
        publish(version, cast)


def test_withdrawing_ends_the_live_version_and_tells_those_above(cast: Cast) -> None:
    entry = make_published(cast)
    actions.start_revision(entry, by=cast.operator)
    told: list[object] = []
    entry_withdrawn.connect(lambda **news: told.append(news["entry"]), weak=False, dispatch_uid="test")
    try:
        with pytest.raises(errors.MayNotWithdraw):
            actions.withdraw(entry, by=cast.operator, reason="不再产生")
        with pytest.raises(errors.ReasonMissing):
            actions.withdraw(entry, by=cast.administrator, reason="")
        entry = actions.withdraw(entry, by=cast.administrator, reason="不再产生")
    finally:
        entry_withdrawn.disconnect(dispatch_uid="test")

    assert told == [entry]
    assert entry.live_version is None
    assert {version.state for version in entry.versions.all()} == {VersionState.WITHDRAWN}
    assert queries.published().count() == 0
    with pytest.raises(errors.EntryWithdrawn):
        actions.start_revision(entry, by=cast.operator)


def test_discarding_a_revision_leaves_the_live_version(cast: Cast) -> None:
    entry = make_published(cast)
    draft = actions.start_revision(entry, by=cast.operator)
    actions.discard_draft(draft, by=cast.operator)

    assert queries.published().get() == entry
    assert actions.start_revision(entry, by=cast.operator).number == 3


def test_publication_tells_those_above(cast: Cast) -> None:
    told: list[EntryVersion] = []
    entry_published.connect(lambda **news: told.append(news["version"]), weak=False, dispatch_uid="test")
    try:
        entry = make_published(cast)
    finally:
        entry_published.disconnect(dispatch_uid="test")
    assert told == [entry.live_version]


def test_what_is_marked_as_secret_is_refused_and_nothing_of_it_kept(cast: Cast) -> None:
    fields = {**FIELDS, "abstract": "机密★10年 全市重点目标分布"}
    with pytest.raises(errors.SecrecyMarked) as caught:
        actions.create_entry(by=cast.operator, node=make_node(), fields=fields, items=ITEMS)

    assert "重点目标" not in str(caught.value) + str(caught.value.details)
    assert CatalogueEntry.objects.count() == 0
    event = AuditEvent.objects.get(action="catalogue.secrecy.refuse")
    assert event.outcome == Outcome.REFUSED
    assert event.details == {"place": "信息资源摘要"}

    draft = make_draft(cast)
    with pytest.raises(errors.SecrecyMarked):
        actions.save_draft(
            draft, by=cast.operator, fields={}, items=[{"name": "涉密人员名单", "data_type": "C", "length": 9}]
        )
    assert draft.items.count() == len(ITEMS)


def test_values_that_cannot_be_kept_are_named_together(cast: Cast) -> None:
    fields = {**FIELDS, "format_class": "9", "volume_gb": "12G", "released_on": "2026-13-02", "name": "企" * 200}
    items = [{"name": "甲", "code": "A-1", "data_type": "C"}, {"name": "甲", "data_type": "文本"}]
    with pytest.raises(errors.Findings) as caught:
        actions.create_entry(by=cast.operator, node=make_node(), fields=fields, items=items)

    assert {finding.code for finding in caught.value.findings} == {
        "catalogue.field.not_in_list", "catalogue.field.not_a_number", "catalogue.field.not_a_date",
        "catalogue.field.too_long", "catalogue.items.code_malformed", "catalogue.items.name_twice",
    }  # fmt: skip
    assert CatalogueEntry.objects.count() == 0


def test_an_entry_hangs_at_the_end_of_the_tree(cast: Cast) -> None:
    with pytest.raises(errors.ClassTooHigh):
        actions.create_entry(by=cast.operator, node=make_node("307011", "甘肃省"), fields=FIELDS)


def test_the_authority_sees_what_it_reviews_and_other_departments_do_not(cast: Cast) -> None:
    version = make_signed(cast)
    stranger = make_post(Role.OPERATOR, make_organisation())

    assert list(queries.awaiting(cast.bureau)) == [version]
    assert queries.version_for(cast.bureau, version.pk) == version
    with pytest.raises(errors.EntryNotFound):
        queries.version_for(stranger, version.pk)
    assert queries.visible_to(stranger).count() == 0
    assert queries.visible_to(None).count() == 0

import pytest
from django.db import connection

from jinqiao.accounts.enums import Role
from jinqiao.catalogue import actions, queries, search
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.catalogue.queries import Filters
from tests.catalogue.factories import Cast, make_cast, make_node, make_published, publish_draft
from tests.factories import make_post

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries(cast: Cast) -> dict[str, CatalogueEntry]:
    civil = make_cast("金昌市民政局")
    return {
        "登记": make_published(cast, name="企业注册登记信息"),
        "异常": make_published(
            cast, name="企业经营异常名录", abstract="列入、移出经营异常名录的企业，含登记机关。", sharing_category="1", is_open=True,
            format_type="oracle", means="database", update_cycle="monthly",
        ),
        "婚姻": make_published(civil, name="婚姻登记信息", abstract="结婚、离婚登记。", node=make_node("3070110404", "白银市")),
    }  # fmt: skip


def _names(text: str, **filters: object) -> list[str]:
    return [entry.live_version.name for entry in queries.search(text, filters=Filters(**filters)).entries]  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("婚姻", ["婚姻登记信息"]),
        ("婚姻登记", ["婚姻登记信息"]),
        ("婚", ["婚姻登记信息"]),
        ("经营异", ["企业经营异常名录"]),
        ("hunyin", ["婚姻登记信息"]),
        ("hydj", ["婚姻登记信息"]),
        ("djxx", ["婚姻登记信息", "企业注册登记信息"]),
        ("zhuce", ["企业注册登记信息"]),
        ("企业 登记", ["企业注册登记信息", "企业经营异常名录"]),
        ("ＨＹＤＪ", ["婚姻登记信息"]),
        ("没有这种数据", []),
        ("3070110404/1", ["婚姻登记信息"]),
        ("3070110403", ["企业注册登记信息", "企业经营异常名录"]),
        ("法定代表人 经营", ["企业经营异常名录"]),
        ("金昌市民政局", ["婚姻登记信息"]),
    ],
)
def test_words_pinyin_initials_and_codes_find(entries: dict[str, CatalogueEntry], text: str, names: list[str]) -> None:
    assert _names(text) == names


@pytest.mark.parametrize(
    "text", ['"', "'", '企业" OR name:*', "a' | 'b", "*", "(", "NEAR(", "\\", "%", "_", "\x00", "企业 AND"]
)
def test_signs_of_the_query_languages_do_no_harm(entries: dict[str, CatalogueEntry], text: str) -> None:
    assert len(_names(text.replace("\x00", ""))) in range(4)


def test_names_that_match_come_first(entries: dict[str, CatalogueEntry], cast: Cast) -> None:
    make_published(cast, name="登记")
    make_published(cast, name="登记机关名录")

    assert _names("登记") == ["登记", "登记机关名录", "婚姻登记信息", "企业注册登记信息", "企业经营异常名录"]


def test_without_a_text_the_latest_come_first(entries: dict[str, CatalogueEntry]) -> None:
    assert _names("") == ["婚姻登记信息", "企业经营异常名录", "企业注册登记信息"]


def test_filters_narrow_and_facets_count_what_each_value_would_give(
    entries: dict[str, CatalogueEntry], cast: Cast
) -> None:
    assert _names("", categories=frozenset({"1"})) == ["企业经营异常名录"]
    assert _names("", providers=frozenset({cast.organisation.pk}), cycles=frozenset({"daily"})) == ["企业注册登记信息"]
    assert _names("", means=frozenset({"database"})) == ["企业经营异常名录"]
    assert _names("", node="3070110404") == ["婚姻登记信息"]

    results = queries.search("企业", filters=Filters(categories=frozenset({"1"})))
    assert results.total == 1
    assert [(o.label, o.count, o.selected) for o in results.facets["category"]] == [
        ("无条件共享", 1, True), ("有条件共享", 1, False),
    ]  # fmt: skip
    assert [(o.value, o.count) for o in results.facets["provider"]] == [(str(cast.organisation.pk), 1)]
    assert [(o.value, o.count) for o in results.facets["node"]] == [("3", 1)]


def test_citizens_find_what_is_open(entries: dict[str, CatalogueEntry]) -> None:
    found = queries.search("企业", among=queries.open_to_public()).entries
    assert [entry.live_version.name for entry in found] == ["企业经营异常名录"]  # type: ignore[union-attr]


def test_the_index_follows_publication_and_withdrawal(entries: dict[str, CatalogueEntry], cast: Cast) -> None:
    draft = actions.start_revision(entries["登记"], by=cast.operator)
    item = {"name": "主体名称", "data_type": "C", "length": 200}
    actions.save_draft(draft, by=cast.operator, fields={"name": "市场主体名册", "abstract": "名册。"}, items=[item])
    assert _names("市场主体") == []

    publish_draft(draft, cast)
    assert _names("市场主体") == ["市场主体名册"]
    assert _names("企业注册登记信息") == []

    actions.withdraw(entries["登记"], by=cast.administrator, reason="职能划转")
    assert _names("市场主体") == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM catalogue_search")
        assert cursor.fetchone()[0] == 2


def test_rebuilding_gives_the_same(entries: dict[str, CatalogueEntry]) -> None:
    before = [_names(text) for text in ("登记", "djxx", "hunyin", "企业")]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM catalogue_search")
    assert search.rebuild() == 3
    assert [_names(text) for text in ("登记", "djxx", "hunyin", "企业")] == before


def test_a_search_costs_the_same_number_of_queries_whatever_it_finds(
    entries: dict[str, CatalogueEntry], cast: Cast, django_assert_num_queries: object
) -> None:
    for number in range(2):
        with django_assert_num_queries(5):  # type: ignore[operator]
            results = queries.search("企业")
            assert [entry.provider.short_name for entry in results.page_rows[:20]]
        make_published(cast, name=f"企业年报信息第{number}类")


def test_pinyin_words_begin_at_every_syllable() -> None:
    assert search.pinyin_words("登记A1") == ("dengjia1", "dja", "jia1", "ja", "a1", "a")


def test_a_developer_sees_only_published_entries(entries: dict[str, CatalogueEntry], cast: Cast) -> None:
    post = make_post(Role.DEVELOPER, cast.organisation)
    actions.start_revision(entries["登记"], by=cast.operator)
    assert queries.visible_to(post).count() == 3

from datetime import date
from pathlib import Path

import pytest

from jinqiao.kernel.rulesets import (
    ArticleUnknown,
    ClockNotRegulated,
    OverlayBroken,
    OverlayLoosens,
    RuleSetUnknown,
    register_overlay,
    rule_sets,
    ruleset,
    ruleset_for,
)


@pytest.mark.parametrize(
    ("on", "name"),
    [
        (date(2016, 9, 5), "rules-2016"),
        (date(2025, 7, 31), "rules-2016"),
        (date(2025, 8, 1), "rules-2025"),
        (date(2030, 1, 1), "rules-2025"),
    ],
)
def test_the_date_of_the_event_chooses_the_rules(on: date, name: str) -> None:
    assert ruleset_for(on).name == name


def test_before_any_rules_there_are_none() -> None:
    with pytest.raises(RuleSetUnknown):
        ruleset_for(date(2016, 9, 4))
    with pytest.raises(RuleSetUnknown):
        ruleset("rules-1999")
    with pytest.raises(RuleSetUnknown):
        ruleset("rules-2025+nowhere")


@pytest.mark.parametrize(
    ("key", "days", "more", "consent"),
    [
        ("catalogue.update", 10, 5, "authority"),
        ("catalogue.authority_review", 2, 0, ""),
        ("request.reply.unconditional", 1, 0, ""),
        ("request.reply.conditional", 10, 10, "authority"),
        ("grant.provision", 20, 0, ""),
        ("objection.verification", 10, 0, ""),
    ],
)
def test_the_regulation_of_2025_sets_these_terms(key: str, days: int, more: int, consent: str) -> None:
    rule = ruleset("rules-2025").clock(key)
    assert (rule.working_days, rule.extension_days, rule.extension_consent) == (days, more, consent)
    assert rule.statutory
    assert rule.clause.startswith("《政务数据共享条例》第")


def test_unconditional_data_was_taken_without_a_reply_before_2025() -> None:
    assert "request.reply.unconditional" not in ruleset("rules-2016").clocks
    with pytest.raises(ClockNotRegulated):
        ruleset("rules-2016").clock("request.reply.unconditional")


def test_only_the_terms_for_missing_papers_and_for_sampled_calls_are_the_platforms_own() -> None:
    for rules in rule_sets():
        assert [rule.key for rule in rules.clocks.values() if not rule.statutory] == [
            "request.papers",
            "call.justification",
        ]


def test_every_clock_and_article_speaks_both_languages() -> None:
    for rules in rule_sets():
        for text in (*rules.clocks.values(), *rules.articles.values()):
            assert text.title
            assert text.title_en
            assert bool(text.clause) == bool(text.clause_en)


def test_an_article_that_is_not_there_cannot_be_cited() -> None:
    assert ruleset("rules-2025").article("article-14").clause == "《政务数据共享条例》第十四条"
    with pytest.raises(ArticleUnknown):
        ruleset("rules-2025").article("article-99")


def test_an_overlay_tightens_and_adds() -> None:
    local = ruleset_for(date(2026, 3, 18), "gaoping-2024")
    assert local.name == "rules-2025+gaoping-2024"
    assert ruleset(local.name) == local
    assert local.clock("request.reply.conditional").working_days == 5
    assert local.clock("request.reply.conditional").extension_days == 10
    assert local.clock("request.compliance_check").working_days == 2
    assert local.clock("grant.provision") == ruleset("rules-2025").clock("grant.provision")


@pytest.mark.parametrize(
    "changes",
    [
        {"clocks": {"request.reply.conditional": {"working_days": 11}}},
        {"clocks": {"request.reply.conditional": {"extension_days": 11}}},
        {"clocks": {"request.reply.conditional": {"extension_consent": ""}}},
        {"clocks": {"request.reply.conditional": {"extension_notice": False}}},
        {"clocks": {"request.reply.conditional": {"statutory": False}}},
        {"clocks": {"grant.provision": {"may_pause": True}}},
        {"retention_years": {"usage_records": 2}},
    ],
)
def test_an_overlay_that_loosens_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OverlayLoosens):
        ruleset("rules-2025").overlaid({"name": "local", "on": ["rules-2025"], **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"on": ["rules-2016"]},
        {"name": ""},
        {"clocks": {"request.reply.conditional": {"working_days": 0}}},
        {"clocks": {"request.reply.conditional": {"days": 3}}},
        {"clocks": {"local.new": {"working_days": 3}}},
        {"clocks": {"local.new": {"title": "新", "working_days": "3"}}},
    ],
)
def test_an_incomplete_overlay_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OverlayBroken):
        ruleset("rules-2025").overlaid({"name": "local", "on": ["rules-2025"], **changes})


def test_a_region_can_bring_its_own_overlay_file(tmp_path: Path) -> None:
    file = tmp_path / "local.toml"
    file.write_text('name = "kernel-test"\non = ["rules-2025"]\n[clocks."grant.provision"]\nworking_days = 15\n')
    assert register_overlay(file) == "kernel-test"
    assert ruleset("rules-2025+kernel-test").clock("grant.provision").working_days == 15
    file.write_text("name = ")
    with pytest.raises(OverlayBroken):
        register_overlay(file)

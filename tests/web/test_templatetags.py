"""The components as templates use them."""

import pytest
from django import forms
from django.template import engines
from django.test import RequestFactory

from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.catalogue.enums import VersionState
from jinqiao.exchange.enums import CommandState, NodeState, RunState, SourceState, TaskState
from jinqiao.sharing.enums import GrantState, RequestState
from jinqiao.web.components import TONES, Event, Figure, Pair, Step, Tab, TreeNode, tone_of


def draw(source, path="/list", **values):
    request = RequestFactory().get(path)
    return engines["django"].from_string(source).render({"request": request, **values}).strip()


class Sample(forms.Form):
    name = forms.CharField(label="名称", help_text="写全称")
    note = forms.CharField(label="备注", required=False, widget=forms.Textarea)
    mode = forms.ChoiceField(label="方式", choices=[("a", "甲"), ("b", "乙")], widget=forms.RadioSelect)
    agree = forms.BooleanField(label="同意", required=False)
    paper = forms.FileField(label="附件", required=False)


@pytest.mark.parametrize(
    "states",
    [VersionState, RequestState, GrantState, RunState, TaskState, NodeState, SourceState, CommandState, Outcome],
)
def test_every_state_of_every_package_has_a_tone(states):
    assert [state.value for state in states if state.value not in TONES] == []


def test_a_state_shows_its_word_and_tone():
    event = AuditEvent(outcome=Outcome.REFUSED)

    assert draw('{% status event "outcome" %}', event=event) == '<span class="tag" data-tone="bad">已拒绝</span>'
    assert tone_of("never heard of") == "idle"


def test_what_people_wrote_is_escaped_everywhere():
    evil = "<script>alert(1)</script>"
    html = draw(
        "{% tag 'good' evil %}{% empty evil evil url='/x' action=evil %}{% key_values pairs %}{% steps steps evil %}"
        "{% timeline events %}{% figures figures %}{% tabs tabs evil %}{% tree nodes evil %}{% error_table errors %}{% held evil evil %}",
        evil=evil,
        pairs=[Pair(evil, evil, evil)],
        steps=[Step(evil, "now", evil, evil)],
        events=[Event(evil, evil, evil, evil)],
        figures=[Figure(evil, evil, evil, evil)],
        tabs=[Tab(evil, "/x")],
        nodes=[TreeNode(evil, children=[TreeNode(evil, "/x", evil)])],
        errors=[{"row": 1, "column": evil, "message": evil, "clause": evil, "mend": evil}],
    )

    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 20


def test_a_field_is_bound_to_its_hint_and_error():
    form = Sample({"mode": "a"})
    html = draw("{% field form.name %}", form=form)

    assert 'aria-describedby="id_name-hint id_name-error"' in html
    assert 'aria-invalid="true"' in html
    assert 'id="id_name-error"' in html
    assert "data-invalid" in html


def test_optional_fields_are_marked_and_required_ones_are_not():
    form = Sample()

    assert "选填" in draw("{% field form.note %}", form=form)
    assert "选填" not in draw("{% field form.name %}", form=form)


def test_a_form_draws_all_fields_or_those_named():
    form = Sample()

    whole = draw("{% form_fields form %}", form=form)
    assert [name for name in ("name", "note", "mode", "agree", "paper") if f'name="{name}"' not in whole] == []
    assert 'name="note"' not in draw('{% form_fields form "name" %}', form=form)
    assert "<legend>方式</legend>" in whole


def test_the_summary_of_errors_links_to_the_fields():
    html = draw("{% error_summary form %}", form=Sample({}))

    assert 'href="#id_name"' in html
    assert 'role="alert"' in html
    assert draw("{% error_summary form %}", form=Sample()) == ""


def test_the_query_is_changed_and_kept():
    assert draw("{% query_string page=2 %}", "/list?q=a&page=1") == "?q=a&amp;page=2"
    assert draw("{% query_string page=None %}", "/list?q=a&page=1") == "?q=a"


def test_a_sort_heading_turns_round_and_goes_back_to_the_first_page():
    up = draw('{% sort_heading "due" "到期" %}', "/list?sort=due&page=4&q=a")

    assert 'aria-sort="ascending"' in up
    assert "sort=-due" in up
    assert "page" not in up
    assert 'aria-sort="none"' in draw('{% sort_heading "due" "到期" %}')


def test_the_filter_bar_exports_what_is_shown():
    html = draw("{% filter_bar form export=True %}", "/list?name=%E7%94%B2&page=3", form=Sample({"name": "甲"}))

    assert "export=xlsx" in html
    assert "page=3" not in html
    assert "全部清除" in html


def test_lengths_are_attributes_not_styles_and_stay_within_bounds():
    assert 'width="67.0%"' in draw("{% meter 67 100 '进度' %}")
    assert 'width="100.0%"' in draw("{% bar 7 5 %}")
    assert 'width="0%"' in draw("{% bar 0 0 %}")
    assert "style=" not in draw("{% meter 1 2 '进度' %}{% bar 1 2 %}")


def test_the_current_span_of_a_deck_is_told_to_readers_of_the_screen():
    html = draw("{% steps steps '运行' %}", steps=[Step("抽取", "done"), Step("交付", "now", url="/x")])

    assert html.count('aria-current="step"') == 1


@pytest.mark.parametrize(("value", "word"), [("1", "无条件共享"), ("2", "有条件共享"), ("3", "不予共享"), ("", "—")])
def test_the_sharing_category_is_a_gate(value, word):
    assert word in draw("{% category value %}", value=value)


def test_no_clock_draws_nothing():
    assert draw("{% clock nothing %}", nothing=None) == ""

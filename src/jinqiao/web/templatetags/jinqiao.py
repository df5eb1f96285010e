"""Tags and filters of the pages; a builtin of every template, nothing to load. All on one page: /developer/components.

The frame of a page
    {% extends "base.html" %}; give `title` in the context (heading and <title>), or override the blocks `title`, `heading`,
    `facts` (spans under the heading), `actions` (buttons at its right), `crumbs`, `content`, `scripts`.
    Breadcrumbs above pages below a navigation item come by themselves; a view may add `crumbs` (list of components.Crumb).

States
    {% status run %} {% status event "outcome" %} {% status grant solid=True %}   word, colour and shape of a choice field
    {% tag "warn" _("结构漂移") %} {% tag "good" "…" solid=True %}              a state that is no field
    {% category version.sharing_category %}                                     sharing category as a bridge opening
    {% clock todo.clock %} {% clock clock dated=True %}                         working days left, late, paused, 期限未定
    {{ clock|clause }} {{ todo.title|todo_title }} {{ event.actor_name|actor }}  in the reader's language

Numbers, dates (filters; nothing is —)
    number short_number day short_day full_day weekday iso_day moment exact_moment ago size duration digest dash, percent:whole

Lists
    {% filter_bar form %} {% filter_bar filter.form export=True %}              GET form above a list, export link ?export=xlsx
    {% sort_heading "due" _("到期日") %} {% sort_heading "rows" _("行数") number=True %}    <th> with aria-sort, uses ?sort=
    {% pager page %}                                                            under a list; page from pagination.page_of
    {% query_string page=2 export=None %}                                       this address with parameters changed or dropped
    {% empty _("没有…") _("怎么办") url=… action=_("…") %}                       instead of an empty list

Forms
    <form method="post" class="form">{% csrf_token %}{% error_summary form %}{% form_fields form %} … </form>
    {% field form.name %} {% field form.name hint=_("…") %}                     one field with label, hint, error, described by
    {% form_fields form %} {% form_fields form "name,abstract" %}               all visible fields, or these
    {% held _("提供方") entry.provider %}                                       what the platform holds: shown, not asked
    A form whose fields may all stay empty in a draft sets `marks_optional = False`: then none is marked 选填.
    Field attributes come from the widget: set `class` "is-short", "is-mid", "is-tall", "code" in attrs to narrow or widen.

Records
    {% key_values pairs %} {% key_values pairs double=True %}                   list of components.Pair or (label, value)
    {% steps steps _("办理进程") %} {% steps steps _("…") large=True %}         the deck: list of components.Step
    {% timeline events %}                                                       list of components.Event, newest first
    {% figures figures %}                                                       list of components.Figure
    {% meter done total _("交付进度") %} {% meter done total "…" tone="warn" %}  progress bar
    {% bar value largest %} {% bar value largest tone="bad" text="94.2" %}      bar inside a table cell
    {% tabs tabs _("本页") %}                                                   list of components.Tab
    {% tree nodes _("分类") %}                                                  list of components.TreeNode
    {% error_table errors %}                                                    of a workbook: [{row, column, cell, message, clause, mend}]
    {% icon "mark" %} {% icon "empty" %}                                        the mark; the empty bridge
    {% todo_url todo as url %} {% about_url type id as url %}                   the page of a thing, "" where none or not for this post

Asking before a dangerous act: render "components/confirm.html" with title, what_stays (lines), form (or none), action, danger, back.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django import template
from django.db.models import Model
from django.forms import (
    BaseForm,
    BoundField,
    CheckboxInput,
    CheckboxSelectMultiple,
    ClearableFileInput,
    FileInput,
    RadioSelect,
    Select,
    SelectMultiple,
    Textarea,
)
from django.template import Context
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.web import clocks, formats, targets
from jinqiao.web.audit.words import actor_word
from jinqiao.web.components import Crumb, Event, Figure, Pair, Step, Tab, Text, Tone, TreeNode, label_of, tone_of
from jinqiao.web.todo_titles import title_in_words
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.models import Clock, ToDo

register = template.Library()

for _name in (
    "number", "short_number", "day", "full_day", "weekday", "short_day", "iso_day", "moment", "exact_moment", "ago", "size", "duration",
    "digest", "percent",
):  # fmt: skip
    register.filter(_name, getattr(formats, _name))


@register.filter
def dash(value: Any) -> Any:
    """Nothing and the empty text as —; 0 and False stay."""
    return formats.DASH if value is None or value == "" else value


@register.filter
def message_tone(tags: str) -> Tone:
    """The tone of a Django message."""
    tones: dict[str, Tone] = {"success": "good", "warning": "warn", "error": "bad", "info": "run"}
    return next((tones[tag] for tag in tags.split() if tag in tones), "run")


# ── states ──


@register.inclusion_tag("components/tag.html")
def status(instance: Model, field: str = "state", solid: bool = False) -> dict[str, Any]:
    return {"tone": tone_of(getattr(instance, field)), "label": label_of(instance, field), "solid": solid}


@register.inclusion_tag("components/tag.html")
def tag(tone: Tone, label: Text, solid: bool = False) -> dict[str, Any]:
    return {"tone": tone, "label": label, "solid": solid}


GATES: Mapping[str, tuple[str, Text]] = {
    "1": ("open", _("无条件共享")),
    "2": ("half", _("有条件共享")),
    "3": ("shut", _("不予共享")),
}


@register.inclusion_tag("components/category.html")
def category(value: str) -> dict[str, Any]:
    gate, label = GATES.get(str(value), ("half", formats.DASH))
    return {"gate": gate, "label": label}


@register.inclusion_tag("components/clock.html", takes_context=True)
def clock(context: Context, clock: Clock | None, dated: bool = False) -> dict[str, Any]:
    """Nothing where there is no clock. The calendar is read once per page."""
    if clock is None:
        return {"view": None}
    calendar = context.render_context.get("calendar")
    if calendar is None:
        calendar = workflow.calendar()
        context.render_context["calendar"] = calendar
    return {"view": clocks.view_of(clock, calendar), "dated": dated, "clause": clocks.clause_of(clock)}


@register.filter
def clause(clock: Clock | None) -> str:
    return clocks.clause_of(clock) if clock else ""


@register.filter
def actor(name: str) -> Text:
    return actor_word(name)


@register.filter
def todo_title(title: str) -> str:
    return title_in_words(title)


# ── lists ──


@register.simple_tag(takes_context=True)
def query_string(context: Context, **changes: Any) -> str:
    """The query of this page with parameters changed; None drops one. Starts with "?"."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = value
    return f"?{query.urlencode()}"


@register.inclusion_tag("components/pager.html", takes_context=True)
def pager(context: Context, page: Any) -> dict[str, Any]:
    query = context["request"].GET.copy()
    query.pop("page", None)
    return {
        "page": page,
        "numbers": list(page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)),
        "gap": page.paginator.ELLIPSIS,
        "base": f"?{query.urlencode()}&" if query else "?",
    }


@register.inclusion_tag("components/sort_heading.html", takes_context=True)
def sort_heading(context: Context, name: str, label: Text, number: bool = False) -> dict[str, Any]:
    """Sorting by `?sort=name`, downwards `?sort=-name`; the view reads and checks it."""
    query = context["request"].GET.copy()
    current = query.get("sort", "")
    direction = {name: "ascending", f"-{name}": "descending"}.get(current, "none")
    query.pop("page", None)
    query["sort"] = f"-{name}" if current == name else name
    return {"label": label, "direction": direction, "url": f"?{query.urlencode()}", "number": number}


@register.inclusion_tag("components/filter_bar.html", takes_context=True)
def filter_bar(
    context: Context, form: BaseForm, export: bool = False, action: Text = "", more: str = ""
) -> dict[str, Any]:
    """`more` names fields that are folded away until somebody asks for them, or has set one."""
    query = context["request"].GET.copy()
    query.pop("page", None)
    query["export"] = "xlsx"
    is_filtered = any(value for name, value in context["request"].GET.items() if name not in ("page", "size", "sort"))
    rare = {name.strip() for name in more.split(",")}
    fields = [(bound.name in rare, _dressed(bound, small=True)) for bound in form.visible_fields()]
    return {
        "form": form,
        "fields": [field for is_rare, field in fields if not is_rare],
        "more": [field for is_rare, field in fields if is_rare],
        "more_is_open": any(context["request"].GET.get(name) for name in rare),
        "export_url": f"?{query.urlencode()}" if export else "",
        "action": action,
        "is_filtered": is_filtered,
        "path": context["request"].path,
        "sort": context["request"].GET.get("sort", ""),
    }


@register.inclusion_tag("components/empty.html")
def empty(title: Text, text: Text = "", url: str = "", action: Text = "") -> dict[str, Any]:
    return {"title": title, "text": text, "url": url, "action": action}


# ── forms ──


def _kind(bound: BoundField) -> str:
    widget = bound.field.widget
    if isinstance(widget, RadioSelect | CheckboxSelectMultiple):
        return "choices"
    if isinstance(widget, CheckboxInput):
        return "checkbox"
    if isinstance(widget, FileInput | ClearableFileInput):
        return "file"
    return "plain"


def _dressed(bound: BoundField, hint: Text = "", small: bool = False) -> dict[str, Any]:
    """The field with the classes and references its place asks for. Attributes of the form's author stay."""
    widget = bound.field.widget
    identity = bound.id_for_label or bound.auto_id or bound.html_name
    described = []
    hint = hint or bound.help_text or ""
    if hint and not small:
        described.append(f"{identity}-hint")
    if bound.errors and not small:
        described.append(f"{identity}-error")
    attributes: dict[str, Any] = {}
    if described:
        attributes["aria-describedby"] = " ".join(described)
    if bound.errors:
        attributes["aria-invalid"] = "true"
    kind = _kind(bound)
    if kind == "plain":
        if isinstance(widget, Textarea):
            base = "textarea"
            attributes.setdefault("rows", widget.attrs.get("rows", 4))
        elif isinstance(widget, SelectMultiple):
            base = "select is-many"
        elif isinstance(widget, Select):
            base = "select"
        else:
            base = "input"
        attributes["class"] = f"{base} {widget.attrs.get('class', '')}".strip()
    control = bound.as_widget(attrs=attributes) if kind != "choices" else ""
    return {
        "bound": bound,
        "kind": kind,
        "control": control,
        "id": identity,
        "hint": hint,
        "options": list(bound) if kind == "choices" else [],
        "is_optional": not bound.field.required and kind != "checkbox" and getattr(bound.form, "marks_optional", True),
        "small": small,
    }


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, hint: Text = "") -> dict[str, Any]:
    return _dressed(bound, hint)


@register.inclusion_tag("components/form_fields.html")
def form_fields(form: BaseForm, names: str = "") -> dict[str, Any]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    bounds = [form[name] for name in wanted] if wanted else list(form.visible_fields())
    return {"fields": [_dressed(bound) for bound in bounds], "hidden": form.hidden_fields() if not wanted else []}


@register.inclusion_tag("components/error_summary.html")
def error_summary(form: BaseForm) -> dict[str, Any]:
    lines = [(bound, message) for bound in form if bound.errors for message in bound.errors]
    general = form.non_field_errors() if form.is_bound else []
    return {"lines": lines, "general": general, "count": len(lines) + len(general)}


@register.inclusion_tag("components/held.html")
def held(label: Text, value: Any, hint: Text = "", code: bool = False) -> dict[str, Any]:
    return {"label": label, "value": value, "hint": hint, "code": code}


# ── records ──


@register.inclusion_tag("components/key_values.html")
def key_values(pairs: Sequence[Pair | tuple[Text, Any]], double: bool = False) -> dict[str, Any]:
    return {"pairs": [pair if isinstance(pair, Pair) else Pair(*pair) for pair in pairs], "double": double}


@register.inclusion_tag("components/steps.html")
def steps(steps: Sequence[Step], label: Text, large: bool = False) -> dict[str, Any]:
    return {"steps": steps, "label": label, "large": large}


@register.inclusion_tag("components/timeline.html")
def timeline(events: Sequence[Event]) -> dict[str, Any]:
    return {"lines": [{"event": event, "at": _written(event.at)} for event in events]}


def _written(at: datetime | date | Text | None) -> Text:
    """An instant to the minute, a date by its day, words as they are."""
    if isinstance(at, datetime):
        return formats.moment(at)
    return formats.day(at) if isinstance(at, date) else (at or "")


@register.inclusion_tag("components/figures.html")
def figures(figures: Sequence[Figure]) -> dict[str, Any]:
    return {"figures": figures}


def _share(value: Any, whole: Any) -> str:
    """Per cent of a length between 0 and 100, as an SVG attribute."""
    if not value or not whole:
        return "0"
    return f"{min(100.0, max(0.0, 100 * float(value) / float(whole))):.1f}"


@register.inclusion_tag("components/meter.html")
def meter(done: float, total: float, label: Text, tone: str = "") -> dict[str, Any]:
    share = _share(done, total)
    return {"share": share, "now": round(float(share)), "label": label, "tone": tone}


@register.inclusion_tag("components/bar.html")
def bar(value: float, largest: float, tone: str = "", text: str = "") -> dict[str, Any]:
    return {"share": _share(value, largest), "tone": tone, "text": text or formats.number(value)}


@register.inclusion_tag("components/tabs.html")
def tabs(tabs: Sequence[Tab], label: Text) -> dict[str, Any]:
    return {"tabs": tabs, "label": label}


@register.inclusion_tag("components/tree.html")
def tree(nodes: Sequence[TreeNode], label: Text = "") -> dict[str, Any]:
    return {"nodes": nodes, "label": label, "is_top": True}


@register.inclusion_tag("components/error_table.html")
def error_table(errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"errors": errors}


@register.inclusion_tag("components/crumbs.html", takes_context=True)
def crumbs(context: Context) -> dict[str, Any]:
    """Group, item, what the view adds (`crumbs`), and the page itself."""
    above: list[Crumb] = [*context["shell"].crumbs, *(context.get("crumbs") or ())]
    return {"above": above, "here": context.get("crumb") or context.get("title") or ""}


@register.simple_tag(takes_context=True)
def todo_url(context: Context, todo: ToDo) -> str:
    """Where an open to-do is acted on; what is done, or waits elsewhere, leads to the thing itself."""
    kind = "" if todo.done_at else todo.kind
    return targets.page_for(_post(context), todo.about_type, todo.about_id, kind)


@register.simple_tag(takes_context=True)
def about_url(context: Context, about_type: str, about_id: str) -> str:
    return targets.page_for(_post(context), about_type, about_id)


def _post(context: Context) -> Post | None:
    post: Post | None = getattr(context["request"], "post", None)
    return post


ICONS: Mapping[str, str] = {
    "mark": (
        '<svg viewBox="0 0 32 32" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2.2" '
        'stroke-linecap="square"><path d="M3 15.5C9 14.2 13.4 9.6 16 3.6 18.6 9.6 23 14.2 29 15.5"/><path d="M16 5V28"/>'
        '<path d="M10.5 14.5H21.5"/><path d="M2.5 28H29.5"/></g><path class="mark-deck" d="M4 20.6H28" stroke-width="3"/>'
        '<path d="M9.2 23.4l1.5 2.6M22.8 23.4l-1.5 2.6" stroke="currentColor" stroke-width="2" stroke-linecap="square"/></svg>'
    ),
    "empty": (
        '<svg viewBox="0 0 120 44" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2">'
        '<path d="M0 6H120" stroke-width="4"/><path d="M6 40C10 20 20 12 30 12S50 20 54 40M66 40C70 20 80 12 90 12S110 20 114 40"/>'
        '<path d="M0 41H120"/></g></svg>'
    ),
    "broken": (
        '<svg viewBox="0 0 240 60" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2">'
        '<path d="M0 6H96M146 6H240" stroke-width="5"/><path d="M6 56C10 30 22 14 40 14S70 30 74 56M166 56C170 30 182 14 200 14S230 30 234 56"/>'
        '<path d="M84 6V56M156 6V56" stroke-width="3"/><path d="M0 57H240"/></g></svg>'
    ),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    return mark_safe(ICONS[name])  # noqa: S308 -- constants of this file

"""A task as its page shows it: what, from whom, how, when, spared how, checked by what, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.exchange import rules
from jinqiao.exchange.enums import ApprovalState, ComparisonState, TaskState
from jinqiao.exchange.models import Alert, Binding, ExchangeTask
from jinqiao.exchange.queries import history, tasks
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel.catalogues import check_catalogue, transform_catalogue
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, Delivery, Transform
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.components import Pair, Text, Tone
from jinqiao.web.exchange.slot_view import slot_lines
from jinqiao.web.exchange.words import (
    SEVERITIES,
    check_word,
    drift_words,
    ledger_words,
    limit_words,
    parameter_words,
    protection_words,
    reconcile_words,
    schedule_words,
    start_words,
    transform_word,
    way_words,
)
from jinqiao.web.navigation import url_of

NEXT_TIMES = 3


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One rule in words; `position` counts from 0."""

    position: int
    check: str
    name: str
    version: int
    item: str
    parameters: str
    severity: Text
    tone: Tone
    stops: str


@dataclass(frozen=True, slots=True)
class TransformLine:
    position: int
    code: str
    item: str
    name: str
    parameters: str


def item_names(task: ExchangeTask) -> dict[str, str]:
    return {str(item["code"]): str(item["name"]) for item in task.grant.items}


def check_lines(task: ExchangeTask) -> list[CheckLine]:
    """The rules of a task, in their order."""
    names = item_names(task)
    tones: Mapping[str, Tone] = {"warn": "idle", "quarantine": "warn", "stop": "bad"}
    lines = []
    for position, data in enumerate(task.checks):
        rule = CheckRule.from_json(data)
        entry = check_catalogue().get(rule.check)
        stops = []
        if rule.stop_share is not None:
            stops.append(_("超过%(share)s") % {"share": formats.percent(rule.stop_share, 1)})
        if rule.stop_rows is not None:
            stops.append(_("超过%(rows)s行") % {"rows": formats.number(rule.stop_rows)})
        lines.append(
            CheckLine(
                position,
                rule.check,
                check_word(rule.check),
                rule.version or int(entry["version"] if entry else 0),
                names.get(rule.item, rule.item),
                parameter_words(entry, rule.parameters),
                SEVERITIES[rule.severity.value],
                tones[rule.severity.value],
                _("或").join(stops),
            )
        )
    return lines


@dataclass(frozen=True, slots=True)
class ItemChecks:
    """The checks of one item: 必填；长度（最多字符数 20）."""

    item: str
    checks: list[str]
    severities: list[tuple[Tone, Text]]


def checks_by_item(lines: list[CheckLine]) -> list[ItemChecks]:
    """For the page of a task, which shows them in short."""
    grouped: dict[str, list[CheckLine]] = {}
    for line in lines:
        grouped.setdefault(line.item, []).append(line)
    return [
        ItemChecks(
            item,
            [
                _("%(name)s（%(parameters)s）") % {"name": line.name, "parameters": line.parameters}
                if line.parameters
                else line.name
                for line in own
            ],
            list({line.tone: (line.tone, line.severity) for line in own}.values()),
        )
        for item, own in grouped.items()
    ]


def transform_lines(binding: Binding | None, names: Mapping[str, str]) -> list[TransformLine]:
    lines = []
    for position, data in enumerate(binding.transforms if binding else ()):
        transform = Transform.from_json(data)
        operation = str(transform.parameters.get("operation", ""))
        entry = transform_catalogue().get(operation or transform.kind.value)
        lines.append(
            TransformLine(
                position,
                transform.item,
                names.get(transform.item, transform.item),
                transform_word(transform.kind.value, operation),
                parameter_words(entry, transform.parameters),
            )
        )
    return lines


def next_times(task: ExchangeTask) -> list[str]:
    """When the plan starts the task next; nothing where it is not running."""
    if task.state != TaskState.ACTIVE or not task.schedule:
        return []
    return [formats.moment(at) for at in tasks.next_times(task.schedule, NEXT_TIMES)]


def _source_pairs(task: ExchangeTask, binding: Binding | None, post: Post) -> list[Pair]:
    grant = task.grant
    return [
        Pair(_("任务编号"), task.number, code=True),
        Pair(_("授权"), grant.number, url=url_of("sharing:grant", grant.pk), code=True),
        Pair(_("提供部门"), grant.provider.name),
        Pair(_("需求部门"), grant.consumer.name),
        Pair(_("授权至"), formats.iso_day(grant.valid_until)),
        Pair(_("数据项"), _("%(count)s项") % {"count": len(grant.items)}),
        Pair(
            _("来源"),
            f"{binding.source.name} · {binding.table}" if binding else _("提供方还没有挂接"),
            url=url_of("exchange:source", binding.source_id)
            if binding and binding.source.organisation_id == post.organisation_id
            else "",
        ),
        Pair(
            _("交付到"),
            f"{task.target.name} · {task.target_table}" if task.target else _("还没有选定"),
            url=url_of("exchange:source", task.target_id)
            if task.target and task.target.organisation_id == post.organisation_id
            else "",
        ),
    ]


def _way_pairs(task: ExchangeTask) -> list[Pair]:
    pairs = [
        Pair(_("做法"), way_words(task.mode, task.delivery), wide=True),
        Pair(_("结构变化时"), drift_words(task)),
        Pair(_("对账"), reconcile_words(task)),
        Pair(_("台账"), ledger_words(task)),
        Pair(
            _("目标表"),
            _("没有时按授权的数据项建立") if task.create_target else _("须先由目标库建好"),
        ),
    ]
    if task.mode == CopyMode.WATERMARK:
        pairs += [
            Pair(_("水位"), task.cursor.partition("#")[0], code=True),
            Pair(_("回看"), formats.duration(task.overlap_s)),
        ]
    if task.mode == CopyMode.LOG:
        pairs.append(Pair(_("复制槽"), task.slot, url="#slots" if task.slot else "", code=True))
    if task.target_names:
        words = _("、").join(f"{code}→{name}" for code, name in task.target_names.items())
        pairs.append(Pair(_("目标列名"), words, wide=True, code=True))
    return pairs


def _plan_pairs(task: ExchangeTask) -> list[Pair]:
    times = next_times(task)
    return [
        Pair(_("何时运行"), _("、").join(start_words(task))),
        Pair(_("接下来"), _("、").join(times) if times else formats.moment(task.next_run_at)),
        Pair(_("优先级"), task.get_priority_display()),
        Pair(
            _("重试"),
            _("最多%(count)s次，首次等%(wait)s，之后逐次加长")
            % {"count": task.max_attempts, "wait": formats.duration(task.back_off_s)},
        ),
        Pair(_("限速"), limit_words(task.rows_per_s, task.mb_per_s)),
        Pair(_("内容比对"), schedule_words(task.compare_schedule) if task.compare_schedule else _("不定期")),
    ]


def _drifted(task: ExchangeTask) -> str:
    """How the source's columns differ from those that the task was set up for; empty where they do not."""
    if not task.expected_columns:
        return ""
    try:
        now = {column.name: column for _code, _name, column in tasks.source_columns(task)}
    except JinqiaoError as error:
        return error.text("en" if formats.is_english() else "zh").message
    before = {column["name"]: column for column in task.expected_columns if column["name"] in now}
    changed = [name for name, column in before.items() if column.get("type") != now[name].to_json().get("type")]
    return _("类型变了的列：%(names)s") % {"names": "、".join(sorted(changed))} if changed else ""


def last_thirty_days(task: ExchangeTask, post: Post) -> dict[str, Any]:
    days = history.daily(post, task=task)
    return {"runs": sum(day.count for day in days), "rows": sum(day.rows for day in days)}


def view_of(task: Any, post: Post) -> dict[str, Any]:
    """Everything that stands on the page of a task as `tasks_visible_to` gives it, but its runs."""
    binding = Binding.objects.select_related("source").filter(entry_id=task.grant.entry_id).first()
    may_run = rules.may(rules.check_may_run, post, task)
    may_watch = rules.may(rules.check_may_watch, post, task)
    has_live = task.last_state in LIVE
    is_live = rules.is_live(task.grant)
    is_open = task.state != TaskState.ENDED
    reload_ = tasks.open_reload(task)
    may_bind = rules.may(rules.check_may_bind, post, task.grant.entry)
    lines = check_lines(task)
    return {
        "pairs": _source_pairs(task, binding, post),
        "way": _way_pairs(task),
        "plan": _plan_pairs(task),
        "protection": protection_words(tasks.limits_of(task)),
        "protect_source": binding.source_id if binding and may_bind else None,
        "bind_entry": task.grant.entry_id if may_bind else None,
        "checks": lines,
        "checks_by_item": checks_by_item(lines),
        "transforms": transform_lines(binding, item_names(task)),
        "quarantine_limit": formats.percent(task.quarantine_limit, 1),
        "drifted": _drifted(task) if binding else "",
        "month": last_thirty_days(task, post),
        "slots": slot_lines([task]),
        "rules_url": f"{url_of('exchange:alert_rules')}?task={task.pk}" if may_watch else "",
        "alerts": list(Alert.objects.filter(task=task, closed_at=None).order_by("-id")[:5]),
        "comparison": tasks.last_comparison(task),
        "is_comparing": task.comparisons.filter(state=ComparisonState.ASKED).exists(),
        "reload": reload_,
        "may_decide_reload": reload_ is not None
        and reload_.state == ApprovalState.ASKED
        and rules.may(rules.check_may_approve_reload, post, task),
        "may_use_reload": reload_ is not None and reload_.state == ApprovalState.APPROVED and may_run and not has_live,
        "grant_is_live": is_live,
        "binding": binding,
        "has_live": has_live,
        "may_configure": may_run and is_open,
        "may_watch": may_watch and is_open,
        "may_start": may_run and task.state == TaskState.ACTIVE and is_live and binding is not None and not has_live,
        "may_compare": may_watch
        and is_open
        and task.delivery == Delivery.MIRROR
        and task.target is not None
        and not has_live,
        "may_window": may_run
        and task.state == TaskState.ACTIVE
        and is_live
        and not has_live
        and task.delivery != Delivery.APPEND
        and bool(binding and binding.watermark_column),
        "may_start_over": may_run and bool(task.cursor) and not has_live and task.delivery != Delivery.APPEND,
        "may_ask_reload": may_run
        and reload_ is None
        and task.target is not None
        and is_open
        and not task.appends_changes,
        "may_restrain": rules.may(rules.check_may_restrain, post, task) and is_open,
        "may_resume": may_run and task.state == TaskState.PAUSED and is_live,
    }

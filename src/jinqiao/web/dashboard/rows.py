"""The rows behind each figure of the dashboard: exactly those that it counts, for whoever may see the figure.

They show conduct (who, what, when, how many), never content of data. Where the reader may open the thing itself, the first
cell is a link to its page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Cast
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import DataSource
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.web.clocks import clause_of
from jinqiao.web.components import Text, Tone, label_of, tone_of
from jinqiao.web.dashboard import queries
from jinqiao.web.dashboard.queries import Scope
from jinqiao.workflow.models import Clock

OK: Text = _("已答复")


@dataclass(frozen=True, slots=True)
class Filters:
    """What narrows a list further: a department (as provider), a state, a day in China."""

    department: int | None = None
    state: str = ""
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """`value` of a row: text, number, date or instant. With `tone` it is drawn as a state."""

    label: Text
    value: Callable[[Any], Any]
    tone: Callable[[Any], Tone] | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """`about` names a row for the registry of targets: type and id, or None where it has no page of its own."""

    title: Text
    rows: Callable[[Scope, Filters], QuerySet[Any]]
    columns: Sequence[Column]
    about: Callable[[Any], tuple[str, str]] | None = None
    department_field: str = "provider"
    day_field: str = ""


def rows_of(listing: Listing, scope: Scope, filters: Filters) -> QuerySet[Any]:
    """The rows of a figure, narrowed."""
    found = listing.rows(scope, filters)
    if filters.department is not None and listing.department_field:
        found = found.filter(**{listing.department_field: filters.department})
    if filters.day is not None and listing.day_field:
        begins, ends = queries.day_bounds(filters.day)
        found = found.filter(**{f"{listing.day_field}__gte": begins, f"{listing.day_field}__lt": ends})
    return found


def _state_of(field: str = "state") -> Callable[[Any], Text]:
    return lambda row: label_of(row, field)


def _requests(scope: Scope, filters: Filters) -> QuerySet[SharingRequest]:
    found = queries.submitted(scope).select_related("consumer", "provider", "version")
    return found.filter(state=filters.state) if filters.state in RequestState.values else found


def _runs(scope: Scope, filters: Filters) -> QuerySet[Any]:
    found = queries.recent_runs(scope).select_related(
        "task__grant__provider", "task__grant__consumer", "task__grant__version"
    )
    wanted = filters.state if filters.state in (RunState.FAILED.value, RunState.RECONCILED.value) else ""
    states = [wanted] if wanted else [RunState.RECONCILED, RunState.FAILED]
    return found.filter(state__in=states).order_by("-finished_at", "-pk")


def _calls(scope: Scope, filters: Filters) -> QuerySet[Any]:
    found = queries.recent_calls(scope)
    if filters.state == "refused":
        return found.exclude(outcome="ok")
    return found.filter(outcome="ok") if filters.state == "ok" else found


def _grants(scope: Scope, _filters: Filters) -> QuerySet[Grant]:
    return queries.active_grants(scope).select_related("consumer", "provider", "version")


def _late(scope: Scope, _filters: Filters) -> QuerySet[Clock]:
    asked = SharingRequest.objects.filter(pk=Cast(OuterRef("about_id"), BigIntegerField()))
    return queries.late_replies(scope).annotate(request_number=Subquery(asked.values("number")[:1]))


_PROVIDER = Column(_("提供部门"), lambda row: row.provider.short_name)
_CONSUMER = Column(_("需求部门"), lambda row: row.consumer.short_name)
_GRANT_COLUMNS = (
    Column(_("授权"), lambda grant: grant.version.name),
    Column(_("授权编号"), lambda grant: grant.number),
    _PROVIDER,
    _CONSUMER,
    Column(_("有效期止"), lambda grant: grant.valid_until),
    Column(_("状态"), _state_of(), lambda grant: tone_of(grant.state)),
)

LISTINGS: dict[str, Listing] = {
    "sources": Listing(
        _("数据源"),
        lambda scope, _filters: DataSource.objects.filter(scope.of("organisation")).select_related("organisation", "node"),
        (
            Column(_("数据源"), lambda source: source.name),
            Column(_("机构"), lambda source: source.organisation.short_name),
            Column(_("节点"), lambda source: source.node.name),
            Column(_("测试时间"), lambda source: source.tested_at),
            Column(_("状态"), _state_of(), lambda source: tone_of(source.state)),
        ),
        lambda source: ("exchange.datasource", str(source.pk)),
        department_field="organisation",
    ),
    "entries": Listing(
        _("已发布目录"),
        lambda scope, _filters: queries.published(scope).select_related("provider", "live_version").order_by("code"),
        (
            Column(_("信息资源名称"), lambda entry: entry.live_version.name),
            Column(_("信息资源代码"), lambda entry: entry.code),
            _PROVIDER,
            Column(_("共享类型"), lambda entry: label_of(entry.live_version, "sharing_category")),
            Column(_("发布时间"), lambda entry: entry.live_version.published_at),
        ),
        lambda entry: ("catalogue.catalogueentry", str(entry.pk)),
    ),
    "requests": Listing(
        _("共享申请"),
        _requests,
        (
            Column(_("申请"), lambda request: request.version.name),
            Column(_("申请编号"), lambda request: request.number),
            _CONSUMER,
            _PROVIDER,
            Column(_("提交时间"), lambda request: request.submitted_at),
            Column(_("状态"), _state_of(), lambda request: tone_of(request.state)),
        ),
        lambda request: ("sharing.sharingrequest", str(request.pk)),
    ),
    "late": Listing(
        _("逾期未答复"),
        _late,
        (
            Column(_("提供部门"), lambda clock: clock.organisation.short_name),
            Column(_("申请编号"), lambda clock: clock.request_number),
            Column(_("起算日"), lambda clock: clock.started_on),
            Column(_("到期日"), lambda clock: clock.due_on),
            Column(_("条款"), clause_of),
        ),
        lambda clock: (clock.about_type, clock.about_id),
        department_field="organisation",
    ),
    "grants": Listing(_("使用中的授权"), _grants, _GRANT_COLUMNS, lambda grant: ("sharing.grant", str(grant.pk))),
    "unused": Listing(
        _("30天未用的授权"),
        lambda scope, _filters: queries.unused_grants(scope).select_related("consumer", "provider", "version"),
        _GRANT_COLUMNS,
        lambda grant: ("sharing.grant", str(grant.pk)),
    ),
    "runs": Listing(
        _("近30天的运行"),
        _runs,
        (
            Column(_("数据"), lambda run: run.task.grant.version.name),
            Column(_("运行编号"), lambda run: run.number),
            Column(_("提供部门"), lambda run: run.task.grant.provider.short_name),
            Column(_("需求部门"), lambda run: run.task.grant.consumer.short_name),
            Column(_("结束时间"), lambda run: run.finished_at),
            Column(_("行数"), lambda run: run.rows, is_number=True),
            Column(_("状态"), _state_of(), lambda run: tone_of(run.state)),
        ),
        lambda run: ("exchange.run", str(run.pk)),
        department_field="task__grant__provider",
        day_field="finished_at",
    ),
    "calls": Listing(
        _("近30天的查询"),
        _calls,
        (
            Column(_("调用编号"), lambda call: call.call_id),
            Column(_("时间"), lambda call: call.at),
            Column(_("服务"), lambda call: call.service),
            Column(_("应用"), lambda call: call.application),
            Column(_("用途"), lambda call: call.purpose),
            Column(_("行数"), lambda call: call.rows, is_number=True),
            Column(
                _("结果"), lambda call: OK if call.outcome == "ok" else call.outcome, lambda call: "good" if call.outcome == "ok" else "bad"
            ),
        ),
        department_field="",
        day_field="at",
    ),
}  # fmt: skip


def plain(value: Any) -> Any:
    """A cell for the workbook: texts that are translated late become text."""
    return value if value is None or isinstance(value, int | float | date | datetime) else str(value)

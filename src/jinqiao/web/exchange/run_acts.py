"""What somebody can do about a run now: for each kind of trouble its clause, whose turn it is, and the buttons for exactly that."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.exchange import rules
from jinqiao.exchange.enums import CommandState, RunState, TaskState
from jinqiao.exchange.models import Binding, Run
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode, Delivery
from jinqiao.web.components import Text
from jinqiao.web.exchange.run_view import rows_set_aside

_CONSUMERS = ("pipeline.target.", "pipeline.reconcile.", "exchange.task.", "exchange.run.target_changed")
_PROVIDERS = ("source.", "checks.", "transforms.", "pipeline.source.", "host.")
_COLUMNS = ("source.schema.changed", "source.column.missing", "exchange.binding.")
_TARGET_DRIFT = ("pipeline.target.drift", "pipeline.target.schema", "pipeline.target.missing")
_FROM_START = ("pipeline.state.lost", "source.log.gap", "pipeline.order.cursor", "source.content.changed")
_APPENDED = "pipeline.target.restored_append"
_KEYS = ("pipeline.order.key", "pipeline.order.watermark", "pipeline.source.key_not_unique", "transforms.")
_NODES = ("node.", "pipeline.spool.", "pipeline.chunk.")


@dataclass(frozen=True, slots=True)
class Act:
    """A button: a link, or a form that posts. `hint` says what it does where its label does not."""

    label: Text
    url: str
    posts: bool = False
    is_primary: bool = False
    hint: Text = ""


def whose_turn(run: Run, post: Post) -> str:
    """Who has to act where it is not this post's department."""
    code = str(run.problem.get("code", ""))
    grant = run.task.grant
    if code.startswith(_COLUMNS):
        return ""  # either side may confirm it
    if _is_at_target(run, code):
        if post.organisation_id != grant.consumer_id:
            return _("须由%(name)s（需求方）处理，处理后再启动。") % {"name": grant.consumer.name}
    elif code.startswith(_PROVIDERS) and post.organisation_id != grant.provider_id:
        return _("须由%(name)s（提供方）处理，处理后再启动。") % {"name": grant.provider.name}
    return ""


def _is_at_target(run: Run, code: str) -> bool:
    """Whether the trouble lies with the consumer: by its name, or because it came after the batch was handed over."""
    return code.startswith(_CONSUMERS) or (code.startswith(("source.", "host.")) and bool(run.manifest))


def acts(run: Run, post: Post) -> list[Act]:
    """What this post may do about a run that broke off, the most fitting first; empty where the run is live or came through."""
    if run.state not in (RunState.FAILED, RunState.STOPPED):
        return []
    found = list(_mending(run, post, str(run.problem.get("code", ""))))
    if may_start(run, post):
        label = _("重新运行") if run.state == RunState.FAILED else _("再次运行")
        start = reverse("exchange:task_start", args=[run.task_id])
        found.append(Act(label, start, posts=True, is_primary=True, hint=_("从任务现在的配置开始一次新的运行")))
    return found


def may_start(run: Run, post: Post) -> bool:
    task = run.task
    return (
        rules.may(rules.check_may_run, post, task)
        and task.state == TaskState.ACTIVE
        and rules.is_live(task.grant)
        and not task.runs.filter(state__in=LIVE).exists()
    )


def _mending(run: Run, post: Post, code: str) -> Iterator[Act]:
    task = run.task
    binding = Binding.objects.select_related("source").filter(entry_id=task.grant.entry_id).first()
    may_watch, may_run = rules.may(rules.check_may_watch, post, task), rules.may(rules.check_may_run, post, task)
    is_provider = rules.may(rules.check_may_bind, post, task.grant.entry)
    task_page = [task.pk]
    if code.startswith(_COLUMNS):
        if is_provider and binding is not None:
            yield Act(
                _("重读表结构"),
                reverse("exchange:source_tables", args=[binding.source_id]),
                posts=True,
                hint=_("先让节点重新列出来源的表和列"),
            )
            yield Act(
                _("调整挂接"),
                reverse("exchange:bind", args=[task.grant.entry_id]),
                hint=_("列改了名时，重新为数据项选列"),
            )
        if may_watch:
            yield Act(
                _("确认新的结构"),
                reverse("exchange:task_columns", args=task_page),
                posts=True,
                hint=_("结构变化属实，以后按现在的列读取"),
            )
        if may_run:
            yield Act(
                _("改为随结构调整"),
                reverse("exchange:task_configure", args=task_page),
                hint=_("在配置页“结构变化时”选随结构调整"),
            )
    elif code.startswith(_TARGET_DRIFT) and may_run:
        yield Act(
            _("改为随结构调整"),
            reverse("exchange:task_configure", args=task_page),
            hint=_("在配置页“结构变化时”选随结构调整，目标表自动补列、加宽"),
        )
    elif code.startswith("checks.") and may_watch:
        yield Act(
            _("看检查规则"),
            reverse("exchange:task_checks", args=task_page),
            hint=_("规则过严时改它的级别、终止条件或隔离上限"),
        )
    elif code.startswith(_FROM_START) and may_run and task.cursor:
        yield Act(
            _("水位归零"),
            reverse("exchange:task_start_over", args=task_page),
            hint=_("下一次运行重送全部授权行，按主键合并"),
        )
    elif code == _APPENDED and may_run:
        yield Act(
            _("配置任务"),
            reverse("exchange:task_configure", args=task_page),
            hint=_("另选一张空表从头追加；或改为更新，从头读取并按主键合并"),
        )
    elif code.startswith(_KEYS) and is_provider:
        yield Act(_("调整挂接"), reverse("exchange:bind", args=[task.grant.entry_id]), hint=_("核对主键列、水位列"))
        yield Act(_("调整转换规则"), reverse("exchange:transforms", args=[task.grant.entry_id]))
    elif code.startswith("pipeline.reconcile."):
        if may_watch and task.delivery == Delivery.MIRROR:
            yield Act(
                _("比对两侧内容"),
                reverse("exchange:task_compare", args=task_page),
                posts=True,
                hint=_("两侧重读，看差在哪一侧"),
            )
        if may_run:
            yield Act(
                _("申请清空重载"),
                reverse("exchange:task_reload", args=task_page),
                hint=_("目标表被别的程序改乱、无法修正时用"),
            )
    yield from _places(run, post, code, binding)


def _places(run: Run, post: Post, code: str, binding: Binding | None) -> Iterator[Act]:
    """Pages of the source, the target and the nodes that the trouble is about, where the post may open them."""
    task, own = run.task, post.organisation_id
    target, hint = task.target, _("在那里测试连接、换口令、改连接选项")
    if _is_at_target(run, code):
        if target is not None and target.organisation_id == own:
            yield Act(_("检查目标数据源"), reverse("exchange:source", args=[target.pk]), hint=hint)
    elif code.startswith(("source.", "host.")) and binding is not None and binding.source.organisation_id == own:
        yield Act(_("检查来源数据源"), reverse("exchange:source", args=[binding.source_id]), hint=hint)
    if code.startswith(_NODES):
        for node in {binding.source.node if binding else None, target.node if target else None} - {None}:
            if node is not None and node.organisation_id == own:
                yield Act(
                    _("看节点%(name)s") % {"name": node.name},
                    reverse("exchange:node", args=[node.pk]),
                    hint=_("看联系时间、暂存余量和时钟"),
                )


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The rows that a run set aside, as this post may handle them."""

    is_provider: bool
    is_waiting: bool  # the provider's node has been asked, and has not answered yet
    is_ready: bool
    rows: int
    provider: str


def quarantine(run: Run, post: Post) -> Quarantine | None:
    """None where the run set nothing aside."""
    stopped = str(run.problem.get("code", "")).startswith("checks.")
    if not run.rows_quarantined and not stopped:
        return None
    commands = list(run.commands.filter(kind=CommandKind.READ_QUARANTINE.value).order_by("-id")[:5])
    open_states = (CommandState.WAITING, CommandState.TAKEN)
    return Quarantine(
        is_provider=rules.may(rules.check_may_open_quarantine, post, run.task),
        is_waiting=any(command.state in open_states for command in commands),
        is_ready=any(command.result.get("sealed_payload") for command in commands),
        rows=rows_set_aside(run),
        provider=run.task.grant.provider.name,
    )


def rights(run: Run, post: Post) -> dict[str, bool]:
    """Which switches of the run this post has."""
    is_live = run.state in LIVE
    return {
        "may_stop": (is_live or run.retry_at is not None) and rules.may(rules.check_may_restrain, post, run.task),
        "may_hold": is_live and run.paused_at is None and rules.may(rules.check_may_restrain, post, run.task),
        "may_release": is_live and run.paused_at is not None and rules.may(rules.check_may_release, post, run),
        "may_resend": run.state == RunState.DELIVERING
        and bool(run.manifest)
        and rules.may(rules.check_may_watch, post, run.task),
        "may_replay": run.state == RunState.RECONCILED
        and run.mode == CopyMode.WATERMARK
        and run.task.delivery != Delivery.APPEND
        and may_start(run, post),
    }

"""What a grant makes and ends by itself: the exchange task or the query service (design §6.4)."""

from django.utils.translation import gettext_noop as _

from jinqiao.audit import trail
from jinqiao.catalogue.models import DataItem
from jinqiao.exchange.actions.nodes import gateway_for
from jinqiao.exchange.actions.platform import next_number
from jinqiao.exchange.actions.runs import stop_live_run
from jinqiao.exchange.actions.services import ATTACH
from jinqiao.exchange.actions.tasks import CONFIGURE, end_task, hold_task, release_task
from jinqiao.exchange.models import ExchangeTask, QueryService
from jinqiao.exchange.queries.terms import derived_checks
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.sharing.actions.desk import staff_role
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant
from jinqiao.workflow import actions as workflow


def _ask_consumer(kind: str, title: str, grant: Grant, about: trail.Subject) -> None:
    workflow.open_todo(
        kind=kind,
        title=title % {"name": grant.version.name},
        organisation=grant.consumer,
        role=staff_role(grant.consumer),
        about=about,
    )


def follow_new_grant(grant: Grant, *, by: trail.Actor) -> None:
    """Make the task or service of a grant. One that replaces another takes over its task or service: address, target and
    plan stay, the terms are the new ones from the next run and the next policy on."""
    before = grant.replaces
    if grant.mode == SharingMode.INTERFACE:
        service = QueryService.objects.select_for_update(of=("self",)).filter(grant=before).first() if before else None
        if service is None:
            service = QueryService.objects.create(
                number=next_number(f"cx-{moments.today():%Y}").lower(),
                grant=grant,
                gateway=gateway_for(grant.provider),
                created_at=moments.now(),
            )
            trail.record("exchange.service.make", by=by, about=trail.subject(service), grant=grant.number)
            _ask_consumer(ATTACH, _("为查询服务挂上应用：%(name)s"), grant, trail.subject(service))
        else:
            service.grant = grant
            service.save(update_fields=["grant"])
            trail.record("exchange.service.take_over", by=by, about=trail.subject(service), grant=grant.number)
        return
    items = list(DataItem.objects.filter(version_id=grant.version_id).order_by("position"))
    checks = [rule.to_json() for rule in derived_checks(items, {str(item["code"]) for item in grant.items})]
    task = ExchangeTask.objects.select_for_update(of=("self",)).filter(grant=before).first() if before else None
    if task is None:
        task = ExchangeTask.objects.create(
            number=next_number(f"JH-{moments.today():%Y}"), grant=grant, checks=checks, created_at=moments.now()
        )
        trail.record("exchange.task.make", by=by, about=trail.subject(task), grant=grant.number)
        _ask_consumer(CONFIGURE, _("为交换任务选定交付目标：%(name)s"), grant, trail.subject(task))
        return
    stop_live_run(task, by=by, reason=grant.number)
    task.refresh_from_db()
    task.grant = grant
    if task.checks_chosen:
        codes = {str(item["code"]) for item in grant.items}
        checks = [rule for rule in task.checks if rule["item"] in codes]
    task.checks = checks
    task.target_names = {
        code: name for code, name in task.target_names.items() if code in {str(item["code"]) for item in grant.items}
    }
    task.save(update_fields=["grant", "checks", "target_names"])
    trail.record("exchange.task.take_over", by=by, about=trail.subject(task), grant=grant.number)


def follow_changed_grant(grant: Grant, *, by: trail.Actor) -> None:
    """Hold, release or end what the grant made. Services need nothing: the next policy leaves out what is not live."""
    if grant.state in (GrantState.REVOKED, GrantState.EXPIRED):
        service = QueryService.objects.filter(grant=grant).first()
        if service is not None:
            workflow.finish_todos(trail.subject(service), by=None, kinds=[ATTACH])
    task = ExchangeTask.objects.filter(grant=grant).first()
    if task is None:
        return
    reason = str(grant.get_state_display())
    if grant.state == GrantState.ACTIVE:
        release_task(task, by=by)
    elif grant.state == GrantState.SUSPENDED:
        hold_task(task, by=by, reason=reason)
    elif grant.state == GrantState.REPLACED:
        stop_live_run(task, by=by, reason=reason)  # the new grant takes the task over in this transaction
    else:
        end_task(task, by=by, reason=reason)

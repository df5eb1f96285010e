"""Query services: made by interface grants, called by the consumer's applications, limited by the provider."""

from django.db import transaction

from jinqiao.accounts.enums import ApplicationState
from jinqiao.accounts.models import Application, Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.errors import ApplicationOfAnother, ServiceStateWrong
from jinqiao.exchange.models import QueryService
from jinqiao.workflow import actions as workflow

ATTACH = "exchange.service.attach"
"""The to-do of a consumer whose new service no application may call yet."""


def _locked(service: QueryService) -> QueryService:
    return (
        QueryService.objects.select_for_update(of=("self",))
        .select_related("grant__provider", "grant__consumer", "grant__entry")
        .get(pk=service.pk)
    )


@transaction.atomic
def attach_application(service: QueryService, application: Application, *, by: Post) -> QueryService:
    """Let one of the consumer's applications call the service. Raises ApplicationOfAnother, NotYourService."""
    service = _locked(service)
    rules.check_may_attach(by, service, application)
    if application.organisation_id != service.grant.consumer_id or application.state != ApplicationState.ACTIVE:
        raise ApplicationOfAnother(application=application.number)
    service.applications.add(application)
    workflow.finish_todos(trail.subject(service), by=by, kinds=[ATTACH])
    trail.record("exchange.service.attach", by=by.actor, about=trail.subject(service), application=application.number)
    return service


@transaction.atomic
def detach_application(service: QueryService, application: Application, *, by: Post) -> QueryService:
    service = _locked(service)
    rules.check_may_attach(by, service, application)
    service.applications.remove(application)
    trail.record("exchange.service.detach", by=by.actor, about=trail.subject(service), application=application.number)
    return service


@transaction.atomic
def suspend_service(service: QueryService, *, by: Post, reason: str) -> QueryService:
    """Answer no calls until it is resumed; the grant stays."""
    return _suspend(service, by=by, suspended=True, verb="suspend", reason=reason)


@transaction.atomic
def resume_service(service: QueryService, *, by: Post) -> QueryService:
    return _suspend(service, by=by, suspended=False, verb="resume", reason="")


def _suspend(service: QueryService, *, by: Post, suspended: bool, verb: str, reason: str) -> QueryService:
    service = _locked(service)
    rules.check_may_suspend_service(by, service)
    if service.is_suspended == suspended:
        raise ServiceStateWrong(service=service.number)
    service.is_suspended = suspended
    service.save(update_fields=["is_suspended"])
    trail.record(f"exchange.service.{verb}", by=by.actor, about=trail.subject(service), reason=reason)
    return service

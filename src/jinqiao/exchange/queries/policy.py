"""What a gateway enforces now, and why a service is not served."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Prefetch, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.enums import ApplicationState
from jinqiao.accounts.models import Application
from jinqiao.exchange import rules
from jinqiao.exchange.models import ApplicationKey, Binding, Node, QueryService, SourceTable
from jinqiao.exchange.queries.terms import BoundTable, connection, grant_terms, holds_person_number
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.policy import ApplicationKey as KeyPolicy
from jinqiao.kernel.contracts.policy import ApplicationPolicy, Hours, Operation, RoleMask, ServicePolicy
from jinqiao.kernel.contracts.tables import Mask, TableSchema
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant

EXPLAINED_FOR = timedelta(days=30)
"""So long a service stays in the policy after its grant's last day, so that callers hear "expired", not "unknown"."""


def services_of(gateway: Node) -> list[QueryService]:
    return list(
        QueryService.objects.filter(gateway=gateway, grant__mode=SharingMode.INTERFACE.value)
        .select_related("grant__provider", "grant__consumer", "grant__entry", "grant__version", "gateway", "successor")
        .prefetch_related(Prefetch("applications", Application.objects.select_related("organisation")))
        .order_by("number")
    )


def compiled(gateway: Node) -> tuple[tuple[ApplicationPolicy, ...], tuple[ServicePolicy, ...]]:
    """Applications and services of the snapshot. What cannot be served by the letter of its grant is left out whole."""
    services = services_of(gateway)
    tables = _tables(services)
    served: list[ServicePolicy] = []
    callers: dict[int, Application] = {}
    for service in services:
        policy = _service_policy(service, gateway, tables.get(service.grant.entry_id))
        if policy is None:
            continue
        served.append(policy)
        callers.update({a.pk: a for a in service.applications.all() if _may_call(a, service)})
    keys: dict[int, list[KeyPolicy]] = {}
    now = moments.now()
    live_keys = ApplicationKey.objects.filter(
        Q(not_after=None) | Q(not_after__gt=now), gateway=gateway, application_id__in=list(callers), revoked_at=None
    )
    for key in live_keys.order_by("id"):
        keys.setdefault(key.application_id, []).append(
            KeyPolicy(
                key_id=key.key_id,
                algorithm=key.algorithm,
                sealed_secret=key.sealed_secret,
                public_key=key.public_key,
                not_before=key.not_before,
                not_after=key.not_after,
            )
        )
    applications = tuple(
        ApplicationPolicy(
            application_id=application.number,
            name=application.name,
            organisation=application.organisation.credit_code,
            keys=tuple(keys.get(application.pk, ())),
            addresses=tuple(application.addresses),
            certificates=tuple(application.certificates),
            national_id=application.national_id,
        )
        for application in sorted(callers.values(), key=lambda a: a.number)
    )
    return applications, tuple(served)


def _may_call(application: Application, service: QueryService) -> bool:
    return application.state == ApplicationState.ACTIVE and application.organisation_id == service.grant.consumer_id


def _tables(services: Iterable[QueryService]) -> dict[int, BoundTable]:
    """Bindings with their columns by entry, in two queries."""
    entries = {service.grant.entry_id for service in services}
    bindings = list(Binding.objects.filter(entry_id__in=entries).select_related("source"))
    schemas = {
        (table.source_id, table.name): table.schema
        for table in SourceTable.objects.filter(
            source_id__in={b.source_id for b in bindings}, name__in={b.table for b in bindings}
        )
    }
    found = {}
    for binding in bindings:
        schema = schemas.get((binding.source_id, binding.table))
        if schema is not None:
            columns = {column.name: column for column in TableSchema.from_json(schema).columns}
            found[binding.entry_id] = BoundTable(binding, columns)
    return found


def _service_policy(service: QueryService, gateway: Node, table: BoundTable | None) -> ServicePolicy | None:
    if table is None or _hindrance(service, gateway, table) is not None:
        return None
    try:
        terms = grant_terms(service.grant, table)
        case_column = table.column(service.case_item).name if service.case_item else ""
    except JinqiaoError:
        return None
    unmasked = {item.code for item in terms.items if item.mask is Mask.NONE}
    return ServicePolicy(
        service=service.number,
        name=service.grant.version.name,
        grant=terms,
        connection=connection(table.binding.source, for_gateway=True),
        table=table.binding.table,
        key_items=tuple(table.binding.lookup_items),
        applications=tuple(sorted(a.number for a in service.applications.all() if _may_call(a, service))),
        operations=tuple(Operation(name) for name in service.operations),
        filter_items=tuple(code for code in service.filter_items if code in unmasked),
        subject_items=tuple(item.code for item in terms.items if holds_person_number(item.item)),
        case_column=case_column,
        end_user_required=service.end_user_required,
        role_masks=tuple(RoleMask.from_json(mask) for mask in service.role_masks),
        row_cap=service.row_cap,
        batch_cap=service.batch_cap,
        smallest_count=service.smallest_count,
        calls_per_minute=service.calls_per_minute,
        calls_per_day=service.calls_per_day,
        rows_per_day=service.rows_per_day,
        hours=tuple(Hours.from_json(hours) for hours in service.hours),
        suspended=service.is_suspended,
        version=service.version,
        deprecated_on=service.deprecated_on,
        ends_on=service.ends_on,
        successor=service.successor.number if service.successor else "",
        national_id=service.national_id,
    )


def _ended_lately(grant: Grant) -> bool:
    """Over by its own date, and not long ago: the gateway refuses it by its own clock and can tell the caller why."""
    today = moments.today()
    over = grant.state in (GrantState.ACTIVE, GrantState.EXPIRED) and grant.valid_until < today
    return over and grant.valid_until >= today - EXPLAINED_FOR


def _hindrance(service: QueryService, gateway: Node, table: BoundTable) -> Promise | None:
    grant, binding = service.grant, table.binding
    if not rules.is_live(grant) and not _ended_lately(grant):
        return _("授权不在有效状态")
    if binding.source.organisation_id != grant.provider_id:
        return _("数据源不属于提供方")
    granted = {str(item["code"]) for item in grant.items}
    if not binding.lookup_items:
        return _("提供方没有选定查询条件")
    if not set(binding.lookup_items) <= granted:
        return _("查询条件不在授权的数据项里")
    if binding.source.sealed_password and (
        not binding.source.gateway_sealed_password or binding.source.sealed_for_gateway_id != gateway.pk
    ):
        return _("提供方须重新录入数据源口令，以便密封给网关")
    return None


def why_not_served(service: QueryService) -> Any:
    """Why nothing is answered by the service, in words; None where it is answered."""
    if not rules.is_live(service.grant):
        return _("授权不在有效状态")
    if service.gateway is None:
        return _("还没有可用的网关")
    table = _tables([service]).get(service.grant.entry_id)
    if table is None:
        return _("提供方还没有把条目挂接到数据源")
    found = _hindrance(service, service.gateway, table)
    if found is not None:
        return found
    try:
        grant_terms(service.grant, table)
    except JinqiaoError as error:
        return error.text().message
    return None

"""How a department's HTTP service is, as its gateway probed it, in words."""

from datetime import timedelta

from django.utils.translation import gettext as _

from jinqiao.exchange.models import Binding, QueryService
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.health import ServiceHealth
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.web import formats
from jinqiao.web.components import Pair

OLD_AFTER = timedelta(minutes=5)
"""A gateway tells every minute what it found."""


def health_pairs(service: QueryService) -> list[Pair]:
    """One line for a service behind an HTTP interface, none for others."""
    binding = Binding.objects.filter(entry_id=service.grant.entry_id).select_related("source").first()
    if binding is None or binding.source.engine != Engine.HTTP.value:
        return []
    return [Pair(_("健康探测"), _words(service, is_registered=bool(binding.source.options.get("health"))), wide=True)]


def _words(service: QueryService, *, is_registered: bool) -> str:
    if not is_registered:
        return _("没有登记探测路径，不探测")
    try:
        told = ServiceHealth.from_json(service.source_health) if service.source_health else None
    except ContractBroken:
        told = None
    if told is None:
        return _("已登记，还没有探测结果")
    said = {"since": formats.moment(told.since), "at": formats.moment(told.at), "problem": told.problem}
    if moments.now() - told.at > OLD_AFTER:
        return _("最近一次结果是%(at)s的，网关没有报来更新的") % said
    if told.is_well:
        return _("正常，自%(since)s起；最近探测%(at)s") % said
    return _("不正常（%(problem)s），自%(since)s起；最近探测%(at)s") % said

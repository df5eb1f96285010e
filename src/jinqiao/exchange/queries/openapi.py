"""What an application may ask, as its gateway says it too: the OpenAPI document, and the services behind it."""

from typing import Any

from django.conf import settings

from jinqiao.accounts.models import Application
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.models import Node, QueryService
from jinqiao.exchange.queries.policy import compiled
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.errors import Language
from jinqiao.kernel.openapi import document


def gateways_of(application: Application) -> list[Node]:
    """The gateways that answer the services of an application."""
    return list(
        Node.objects.filter(kind=NodeKind.GATEWAY, query_services__applications=application)
        .distinct()
        .order_by("number")
    )


def gateway_root(gateway: Node) -> str:
    """Where callers reach a gateway, without a path: its own address where it has one, else that of the platform."""
    return (gateway.url or settings.PUBLIC_URL).rstrip("/")


def document_for(application: Application, gateway: Node, language: Language) -> dict[str, Any] | None:
    """The document of the application at that gateway; None where the gateway's policy does not know the application."""
    applications, services = compiled(gateway)
    mine = next((one for one in applications if one.application_id == application.number), None)
    return None if mine is None else document(mine, services, root=gateway_root(gateway), language=language)


def policy_of(service: QueryService) -> ServicePolicy | None:
    """The service as its gateway has it; None where it is not served."""
    if service.gateway is None:
        return None
    _applications, services = compiled(service.gateway)
    return next((one for one in services if one.service == service.number), None)

"""Addresses of the machine interface. Every operation is signed by a node unless it says `auth=None` itself."""

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, ValidationError

from jinqiao import __version__
from jinqiao.api import arrivals, gateways, health, nodes
from jinqiao.api.authentication import signed_by_node
from jinqiao.api.errors import BodyTooLarge, RouteMissing, answer_error, problem_response
from jinqiao.kernel.errors import InvalidInput, JinqiaoError

PUBLIC = frozenset({"register_node", "live", "ready", "openapi-json", "api-root", "missing", "announce_arrival"})
"""Operations without a node's signature: a node that has no identity here yet, watchers, readers of the interface, and a source's
notice of arrival, which has a token of its own."""

api = NinjaAPI(
    title="金桥 Jinqiao",
    version=__version__,
    description="Machine interface of the control plane: nodes and gateways, by HTTP Message Signatures (RFC 9421).",
    auth=signed_by_node,
    docs_url=None,
    urls_namespace="api",
)
api.add_router("nodes/", nodes.router)
api.add_router("gateways/", gateways.router)
api.add_router("arrivals/", arrivals.router)
api.add_router("health/", health.router)


@api.exception_handler(JinqiaoError)
def on_our_error(request: HttpRequest, error: JinqiaoError) -> HttpResponse:
    return answer_error(request, error)


@api.exception_handler(ValidationError)
def on_wrong_parameter(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return answer_error(request, InvalidInput(fields=", ".join(str(problem["loc"][-1]) for problem in error.errors)))


@api.exception_handler(RequestDataTooBig)
def on_too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return answer_error(request, BodyTooLarge())


@api.exception_handler(Http404)
def on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return answer_error(request, RouteMissing())


@api.exception_handler(AuthenticationError)
@api.exception_handler(Exception)
def on_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    return answer_error(request, error)


def _declared(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Sessions play no part here: the sign-in of people does not stand before these views, `access` says who may enter."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            view = pattern.callback
            view.login_required = False  # type: ignore[attr-defined]
            view.access = "public" if pattern.name in PUBLIC else "signed_by_node"  # type: ignore[attr-defined]
    return patterns


@csrf_exempt
def missing(request: HttpRequest) -> HttpResponse:
    """Any other address: a problem, never a page."""
    return problem_response(RouteMissing())


app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = [
    *_declared(api.urls[0]),
    *_declared([re_path(r"^.+$", missing, name="missing")]),
]

"""What proves calls and runs, as files that `jinqiao verify` checks without the platform."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST

from jinqiao.exchange import actions
from jinqiao.exchange.queries.visible import calls_visible_to, runs_visible_to
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.evidence.statements import statement_bytes
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.exchange.roles import SEERS, SERVICE_SEERS


def statement_response(message: SignedMessage, filename: str) -> HttpResponse:
    """A signed statement as a download, byte for byte as it verifies."""
    response = HttpResponse(statement_bytes(message), content_type="application/json")
    response["Content-Disposition"] = str(content_disposition_header(True, filename))
    return response


@post_required(*SERVICE_SEERS)
@require_POST
def call_proof(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The proof of one call, for whoever may see it."""
    call = get_object_or_404(calls_visible_to(request.post), pk=pk)
    return statement_response(actions.prove_call(call, by=request.post), f"call-{call.call_id[:32]}.proof.json")


@post_required(*SEERS)
@require_POST
def run_receipt(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The receipt of a run with both signatures, for whoever may see the run."""
    run = get_object_or_404(runs_visible_to(request.post), pk=pk)
    return statement_response(actions.prove_receipt(run, by=request.post), f"{run.number}.receipt.json")

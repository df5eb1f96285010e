"""Both sides' records of a call, paired: a consumer's receipt says which answer it got; it fits the gateway's record or not.

Receipts and calls may come in any order and by different lanes. Several receipts of one call fit only if all of them do.
A receipt of another application's call confirms nothing: it stays without a call.
"""

from collections.abc import Sequence

from django.db.models import Q

from jinqiao.exchange.models import Call
from jinqiao.kernel.contracts.evidence import RECEIPT, CallRecord

ANSWERED = "ok"


def _may_confirm(receipt: Call, call: Call) -> bool:
    """A receipt is of the application that called, and was given where it called or at the authority's gateway."""
    at_home = receipt.gateway_id == call.gateway_id or receipt.gateway.organisation.is_authority
    return at_home and receipt.application == call.application


def pair_receipts(records: Sequence[CallRecord]) -> None:
    """Pair what has just come: receipts with their calls, and calls with receipts that came before them."""
    wanted = {record.confirms for record in records if record.operation == RECEIPT and record.confirms}
    came = {record.call_id for record in records if record.operation != RECEIPT and record.outcome == ANSWERED}
    waiting = Call.objects.filter(confirms__in=came).exclude(confirms="").values_list("confirms", flat=True)
    calls = list(
        Call.objects.filter(Q(call_id__in=wanted) | Q(call_id__in=list(waiting)))
        .exclude(operation=RECEIPT)
        .order_by("id")
        .defer("record")
    )
    receipts: dict[str, list[Call]] = {}
    for receipt in (
        Call.objects.filter(confirms__in=[call.call_id for call in calls], operation=RECEIPT, outcome=ANSWERED)
        .select_related("gateway__organisation")
        .defer("record")
    ):
        receipts.setdefault(receipt.confirms, []).append(receipt)
    found: list[Call] = []
    for call in calls:
        own = [r for r in receipts.get(call.call_id, ()) if _may_confirm(r, call)]
        if call.outcome == ANSWERED and own:
            call.confirmed_at = min(receipt.at for receipt in own)
            call.confirmation_fits = all(receipt.answer_commitment == call.answer_commitment for receipt in own)
            for receipt in own:  # marked, so that those without a call are found without looking at these again
                receipt.confirmed_at = call.at
                receipt.confirmation_fits = receipt.answer_commitment == call.answer_commitment
                found.append(receipt)
    Call.objects.bulk_update([*calls, *found], ["confirmed_at", "confirmation_fits"], batch_size=500)

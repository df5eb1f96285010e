"""Calls by whether the consumer's own record of them came, and fits."""

from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from jinqiao.exchange.models import Call
from jinqiao.kernel.contracts.evidence import RECEIPT


def unconfirmed_calls(before: datetime) -> QuerySet[Call]:
    """Answered calls of before that instant of which no receipt came."""
    return Call.objects.filter(outcome="ok", at__lt=before, confirmed_at=None).exclude(operation=RECEIPT)


def contradicted_calls() -> QuerySet[Call]:
    """Calls of which the consumer says that it got another answer than the gateway recorded."""
    return Call.objects.filter(confirmation_fits=False).exclude(operation=RECEIPT)


def receipts_without_call() -> QuerySet[Call]:
    """Receipts of a call that no gateway recorded as answered to that application."""
    called = Call.objects.filter(
        call_id=OuterRef("confirms"), application=OuterRef("application"), outcome="ok"
    ).exclude(operation=RECEIPT)
    return Call.objects.filter(operation=RECEIPT, outcome="ok").exclude(Exists(called))


def receipts_waiting() -> QuerySet[Call]:
    """The same, of receipts that were kept since they are marked when their call is found: those that are not marked are few, and
    only of them the calls are looked up."""
    return receipts_without_call().filter(confirmed_at=None)

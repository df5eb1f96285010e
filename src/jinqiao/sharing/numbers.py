"""Numbers of requests and grants: SQ-2026-0001 and SQ-2026-0001/1, without gaps, also under concurrency."""

from jinqiao.sharing.models import Grant, NumberSeries, SharingRequest


def next_request_number(year: int) -> str:
    """Draw the next number of a year. Call inside the transaction that uses it: a rollback gives the number back."""
    series, _made = NumberSeries.objects.get_or_create(key=f"SQ-{year}")
    series = NumberSeries.objects.select_for_update().get(pk=series.pk)
    series.last += 1
    series.save(update_fields=["last"])
    return f"SQ-{year}-{series.last:04d}"


def next_grant_number(request: SharingRequest) -> str:
    """The next grant number of a request; the caller holds the lock on the request's row."""
    return f"{request.number}/{Grant.objects.filter(request=request).count() + 1}"

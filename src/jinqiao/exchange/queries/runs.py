"""Reading runs."""

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.errors import RunMissing
from jinqiao.exchange.models import Run
from jinqiao.kernel.contracts.exchange import BatchManifest, ExchangeOrder

LIVE = (RunState.QUEUED, RunState.EXTRACTING, RunState.DELIVERING)


def order_of(run: Run) -> ExchangeOrder:
    """The order as it was signed for this attempt."""
    return ExchangeOrder.from_json(run.order["body"])


def manifest_of(run: Run) -> BatchManifest | None:
    return BatchManifest.from_json(run.manifest) if run.manifest else None


def run_by_number(number: str) -> Run:
    """Raises RunMissing."""
    run = Run.objects.select_related("task__grant").filter(number=number).first()
    if run is None:
        raise RunMissing(run=number)
    return run

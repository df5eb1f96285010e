"""Reading runs."""

from jinqiao.exchange.enums import RunKind, RunState
from jinqiao.exchange.errors import RunMissing
from jinqiao.exchange.models import NodeCommand, Run
from jinqiao.kernel.contracts.exchange import BatchManifest, CommandKind, CopyMode, ExchangeOrder

TARGET_RESTORED = "pipeline.target.restored"
LIVE = (RunState.QUEUED, RunState.EXTRACTING, RunState.DELIVERING)


def order_of(run: Run) -> ExchangeOrder:
    """The order as it was signed for this attempt."""
    return ExchangeOrder.from_json(run.order["body"])


def manifest_of(run: Run) -> BatchManifest | None:
    return BatchManifest.from_json(run.manifest) if run.manifest else None


def makes_up_for_restored(run: Run) -> bool:
    """Does the run read everything because a delivery, its own or one since the last run that came through, found the target put back to
    an earlier state?"""
    order = order_of(run)
    if run.kind != RunKind.ORDINARY or order.mode is CopyMode.FULL or order.after:
        return False
    through = (
        run.task.runs.filter(state=RunState.RECONCILED, kind=RunKind.ORDINARY, pk__lt=run.pk).order_by("-pk").first()
    )
    return NodeCommand.objects.filter(
        run__task=run.task_id,
        run__gt=through.pk if through is not None else 0,
        run__lte=run.pk,
        kind=CommandKind.DELIVER.value,
        result__problem__code=TARGET_RESTORED,
    ).exists()


def run_by_number(number: str) -> Run:
    """Raises RunMissing."""
    run = Run.objects.select_related("task__grant").filter(number=number).first()
    if run is None:
        raise RunMissing(run=number)
    return run

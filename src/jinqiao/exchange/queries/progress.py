"""How far a run is: stages with rows, bytes and speed, and the time that is left.

Speeds are those of the last samples of the run's present stage (rows and bytes of MB = 10⁶ bytes, both per second); the time left
is what remains at that speed, plus what the later stages took in the task's last reconciled run, scaled by rows.
"""

import enum
from dataclasses import dataclass
from datetime import datetime

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Run
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Progress, Stage

ORDER = tuple(Stage)
SAMPLES = 12
"""So many samples of its progress a run keeps."""
SAMPLE_EVERY_S = 2


class StageState(enum.StrEnum):
    DONE = "done"
    NOW = "now"
    TODO = "todo"
    BAD = "bad"  # the run broke off, or was stopped, here


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage of a run. `seconds` is what it took (None: not over, or not told); speeds are means over the stage."""

    stage: Stage
    state: StageState
    rows_done: int
    rows_total: int | None
    bytes_done: int
    chunks_done: int
    chunks_total: int | None
    seconds: float | None
    rows_per_s: float | None
    mb_per_s: float | None
    waiting_for: str  # "window", "resume", "platform"; empty = it moves
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a live run moves now, and how long it will take; None where nothing can be said yet."""

    rows_per_s: float | None
    mb_per_s: float | None
    rows_done: int
    rows_total: int | None
    share: float | None  # 0 to 1, of the present stage
    left_s: float | None
    waiting_for: str
    is_paused: bool


def told(run: Run, stage: Stage) -> Progress | None:
    """What a node said of a stage last."""
    data = run.progress.get(stage.value)
    return Progress.from_json(data) if data else None


def present_stage(run: Run) -> Stage:
    """Where the run is, or where it broke off."""
    if run.state == RunState.RECONCILED:
        return Stage.RECEIPT
    if run.state == RunState.FAILED and str(run.problem.get("code", "")).startswith("checks."):
        return Stage.CHECK  # nodes tell no progress of checks: they go along with the reading
    known = [stage for stage in ORDER if stage.value in run.progress]
    if run.manifest and run.state != RunState.QUEUED:
        later = [stage for stage in known if ORDER.index(stage) >= ORDER.index(Stage.DELIVER)]
        return later[-1] if later else Stage.DELIVER
    earlier = [stage for stage in known if ORDER.index(stage) <= ORDER.index(Stage.HAND_OVER)]
    return earlier[-1] if earlier and run.state != RunState.QUEUED else Stage.EXTRACT


def stages(run: Run) -> tuple[StageFigures, ...]:
    """All stages in their order."""
    now = present_stage(run)
    return tuple(_figures(run, stage, now) for stage in ORDER)


def _figures(run: Run, stage: Stage, now: Stage) -> StageFigures:
    step = told(run, stage)
    seconds = run.seconds.get(stage.value)
    rows, size = (step.rows_done, step.bytes_done) if step else (0, 0)
    return StageFigures(
        stage=stage,
        state=_state(run, stage, now),
        rows_done=rows,
        rows_total=step.rows_total if step else None,
        bytes_done=size,
        chunks_done=step.chunks_done if step else 0,
        chunks_total=step.chunks_total if step else None,
        seconds=seconds,
        rows_per_s=rows / seconds if seconds and rows else None,
        mb_per_s=size / seconds / 1e6 if seconds and size else None,
        waiting_for=step.waiting_for if step and stage is now and run.state in LIVE else "",
        told_at=step.at if step else None,
    )


def _state(run: Run, stage: Stage, now: Stage) -> StageState:
    if run.state == RunState.RECONCILED or ORDER.index(stage) < ORDER.index(now):
        return StageState.DONE
    if stage is not now or run.state == RunState.QUEUED:
        return StageState.TODO
    return StageState.BAD if run.state in (RunState.FAILED, RunState.STOPPED) else StageState.NOW


def with_sample(run: Run, step: Progress) -> list[list[object]]:
    """The run's samples with this one, if it tells anything new; a new stage, or a restart of one, begins anew."""
    kept = [sample for sample in run.samples if sample[1] == step.stage.value]
    new: list[object] = [step.at.isoformat(), step.stage.value, step.rows_done, step.bytes_done]
    if kept:
        at, _stage, rows, size = kept[-1]
        since = (step.at - datetime.fromisoformat(at)).total_seconds()
        if rows > step.rows_done or size > step.bytes_done or since < 0:
            return [new]
        if since < SAMPLE_EVERY_S:
            return list(run.samples)
    return [*kept, new][-SAMPLES:]


def speed(run: Run) -> Speed | None:
    """None for a run that is over."""
    if run.state not in LIVE:
        return None
    now = present_stage(run)
    step = told(run, now)
    if step is None:
        return Speed(None, None, 0, None, None, None, "", run.paused_at is not None)
    rows_per_s, mb_per_s = _recent(run, now)
    total = step.rows_total or (run.rows if now in (Stage.DELIVER, Stage.RECONCILE) else None)
    share = min(step.rows_done / total, 1.0) if total else None
    left = None
    is_held = bool(step.waiting_for) or run.paused_at is not None
    if total and rows_per_s and not is_held:
        left = max(total - step.rows_done, 0) / rows_per_s + _later(run, now, total)
    return Speed(rows_per_s, mb_per_s, step.rows_done, total, share, left, step.waiting_for, run.paused_at is not None)


def _recent(run: Run, stage: Stage) -> tuple[float | None, float | None]:
    """Rows and MB per second over the samples of a stage; one sample is measured from the start of the run."""
    samples = [sample for sample in run.samples if sample[1] == stage.value]
    if not samples:
        return None, None
    at, _stage, rows, size = samples[-1]
    first_at, _stage, first_rows, first_size = samples[0]
    seconds = (datetime.fromisoformat(at) - datetime.fromisoformat(first_at)).total_seconds()
    if len(samples) == 1:
        if stage is not Stage.EXTRACT or run.started_at is None:
            return None, None
        first_rows = first_size = 0
        seconds = (datetime.fromisoformat(at) - run.started_at).total_seconds()
    if seconds <= 0:
        return None, None
    return (rows - first_rows) / seconds or None, (size - first_size) / seconds / 1e6 or None


def _later(run: Run, now: Stage, rows: int) -> float:
    """Seconds that the stages after this one took last time, by rows."""
    last = run.task.runs.filter(state=RunState.RECONCILED, rows__gt=0).order_by("-id").first()
    if last is None or not last.rows:
        return 0.0
    later = sum(last.seconds.get(stage.value, 0.0) for stage in ORDER[ORDER.index(now) + 1 :])
    return float(later) * rows / last.rows


def waited_s(run: Run) -> float | None:
    """How long the run waited before a node took it, up to now where it still waits."""
    until = run.started_at or (moments.now() if run.state == RunState.QUEUED else None)
    return (until - run.queued_at).total_seconds() if until else None

"""A run as its page shows it: stages of the bridge, figures, findings, chunks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import ExchangeReceipt, RelayChunk, Run
from jinqiao.exchange.queries.runs import LIVE, manifest_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import BatchManifest, Problem, Stage
from jinqiao.kernel.errors import ErrorText, JinqiaoError, error_texts
from jinqiao.web import formats
from jinqiao.web.components import Figure, Step, StepState, Text
from jinqiao.web.errors import language

ORDER = list(Stage)
LABELS: Mapping[Stage, Text] = {
    Stage.EXTRACT: gettext_lazy("抽取"),
    Stage.STAGE: gettext_lazy("落地"),
    Stage.CHECK: gettext_lazy("检查"),
    Stage.HAND_OVER: gettext_lazy("移交"),
    Stage.DELIVER: gettext_lazy("交付"),
    Stage.RECONCILE: gettext_lazy("对账"),
    Stage.RECEIPT: gettext_lazy("回执"),
}
CHECKS: Mapping[str, Text] = {
    "type": gettext_lazy("类型不符"),
    "required": gettext_lazy("不可为空"),
    "length": gettext_lazy("长度超限"),
    "pattern": gettext_lazy("格式不符"),
    "code_list": gettext_lazy("表外值"),
    "identity_number": gettext_lazy("公民身份号码不符（GB 11643）"),
    "credit_code": gettext_lazy("统一社会信用代码不符（GB 32100）"),
    "range": gettext_lazy("超出范围"),
    "unique": gettext_lazy("重复"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a node told of a stage last."""

    rows_done: int = 0
    rows_total: int | None = None
    bytes_done: int = 0
    chunks_done: int = 0
    chunks_total: int | None = None
    at: datetime | None = None

    @classmethod
    def of(cls, run: Run, stage: Stage) -> "Told":
        data = run.progress.get(stage.value)
        if not data:
            return cls()
        return cls(
            rows_done=data.get("rows_done", 0),
            rows_total=data.get("rows_total"),
            bytes_done=data.get("bytes_done", 0),
            chunks_done=data.get("chunks_done", 0),
            chunks_total=data.get("chunks_total"),
            at=datetime.fromisoformat(data["at"]) if data.get("at") else None,
        )


def present_stage(run: Run) -> Stage:
    """Where the run is, or where it broke off."""
    if run.state == RunState.RECONCILED:
        return Stage.RECEIPT
    told = [stage for stage in ORDER if stage.value in run.progress]
    if run.manifest and run.state != RunState.QUEUED:
        later = [stage for stage in told if ORDER.index(stage) >= ORDER.index(Stage.DELIVER)]
        return later[-1] if later else Stage.DELIVER
    earlier = [stage for stage in told if ORDER.index(stage) <= ORDER.index(Stage.HAND_OVER)]
    return earlier[-1] if earlier and run.state != RunState.QUEUED else Stage.EXTRACT


def steps(run: Run, manifest: BatchManifest | None, receipt: ExchangeReceipt | None) -> list[Step]:
    """The deck of stages."""
    now = present_stage(run)
    return [
        Step(LABELS[stage], _state(run, stage, now), *_words(run, stage, manifest, receipt, is_now=stage is now))
        for stage in ORDER
    ]


def _state(run: Run, stage: Stage, now: Stage) -> StepState:
    if run.state == RunState.RECONCILED or ORDER.index(stage) < ORDER.index(now):
        return "done"
    if stage is not now or run.state == RunState.QUEUED:
        return "todo"
    return "bad" if run.state in (RunState.FAILED, RunState.STOPPED) else "now"


def _words(
    run: Run, stage: Stage, manifest: BatchManifest | None, receipt: ExchangeReceipt | None, *, is_now: bool
) -> tuple[str, str]:
    """(figure, note) under a stage's name."""
    told = Told.of(run, stage)
    if is_now and run.state == RunState.QUEUED:
        return "", _("等节点领取")
    if stage is Stage.EXTRACT:
        rows = manifest.rows_read if manifest else told.rows_done
        return (_("%(rows)s行") % {"rows": formats.short_number(rows)} if rows or manifest else ""), (
            _snapshot_words(manifest.snapshot) if manifest else ""
        )
    if stage is Stage.STAGE:
        if manifest:
            size = sum(chunk.size_bytes for chunk in manifest.chunks)
            return _("%(count)s块") % {"count": len(manifest.chunks)}, _("%(size)s，已加密") % {
                "size": formats.size(size)
            }
        return (_("%(count)s块") % {"count": told.chunks_done} if told.chunks_done else ""), ""
    if stage is Stage.CHECK and manifest:
        found = manifest.rows_quarantined
        return (_("通过"), _("隔离%(rows)s行") % {"rows": formats.number(found)}) if found else (_("通过"), "")
    if stage is Stage.HAND_OVER and manifest:
        return _("%(count)s块") % {"count": len(manifest.chunks)}, _("发送方已签")
    if stage is Stage.DELIVER and manifest:
        done = manifest.rows if run.state == RunState.RECONCILED else told.rows_done
        return _("%(rows)s行") % {"rows": formats.short_number(done)}, formats.percent(done, manifest.rows) if (
            is_now and manifest.rows
        ) else ""
    if stage is Stage.RECONCILE and run.counts:
        return _("一致"), _("目标表%(rows)s行") % {"rows": formats.number(run.counts.get("target_rows"))}
    if stage is Stage.RECEIPT and receipt is not None and receipt.completed_at:
        return _("双方已签"), ""
    return "", ""


def _snapshot_words(snapshot: str) -> str:
    """How the rows belong together; the node names its means in its database's terms."""
    return _("同一份文件") if snapshot == "file" else _("同一快照")


@dataclass(frozen=True, slots=True)
class Meter:
    done: int
    total: int
    label: str


def meter(run: Run, manifest: BatchManifest | None) -> Meter | None:
    """How far the present stage is; None where its whole is not known."""
    if run.state not in LIVE or run.state == RunState.QUEUED:
        return None
    stage = present_stage(run)
    told = Told.of(run, stage)
    total = manifest.rows if manifest and ORDER.index(stage) >= ORDER.index(Stage.DELIVER) else told.rows_total
    if not total:
        return None
    return Meter(min(told.rows_done, total), total, _("%(stage)s进度") % {"stage": LABELS[stage]})


def figures(run: Run, manifest: BatchManifest | None) -> list[Figure]:
    """Speed, time, rows set aside, what the target took."""
    told = Told.of(run, present_stage(run))
    ended = run.finished_at or (told.at if told.at else moments.now())
    took = (ended - run.started_at).total_seconds() if run.started_at else None
    rows = run.rows if run.rows is not None and run.state not in LIVE else told.rows_done
    speed = round(rows / took) if took and took > 0 and rows else None
    found = [
        Figure(formats.number(rows), _("行数")),
        Figure(formats.duration(took) if took is not None else None, _("用时")),
        Figure(formats.short_number(speed) if speed else None, _("平均速度"), _("行/秒") if speed else ""),
        Figure(
            formats.number(run.rows_quarantined),
            _("隔离待核"),
            _("行"),
            _("阈值%(share)s") % {"share": formats.percent(run.order["body"]["quarantine_limit"], 1)},
            "#findings" if manifest and manifest.findings else "",
        ),
    ]
    if run.counts:
        found += [
            Figure(formats.number(run.counts[name]), label, _("行"))
            for name, label in (
                ("inserted", _("新增")),
                ("updated", _("更新")),
                ("deleted", _("删除")),
                ("unchanged", _("不变")),
            )
        ]
    return found


@dataclass(frozen=True, slots=True)
class FindingLine:
    check: Text
    item: str
    rows: int
    samples: str


def findings(manifest: BatchManifest | None) -> list[FindingLine]:
    if manifest is None:
        return []
    return [
        FindingLine(
            CHECKS.get(finding.check, finding.check),
            finding.item,
            finding.rows,
            _("、").join(formats.number(row) for row in finding.sample_rows),
        )
        for finding in manifest.findings
    ]


@dataclass(frozen=True, slots=True)
class ChunkLine:
    number: int
    rows: int
    size_bytes: int
    digest: str
    tone: str
    state: Text


def chunks(run: Run, manifest: BatchManifest | None) -> list[ChunkLine]:
    """Chunks of the batch with where they are: in the relay, fetched, delivered."""
    if manifest is None:
        return []
    fetched = {c.number: c.fetched_at for c in RelayChunk.objects.filter(run=run)}
    lines = []
    for chunk in manifest.chunks:
        if run.state == RunState.RECONCILED:
            tone, word = "good", _("已交付")
        elif chunk.number not in fetched:
            tone, word = "stop", _("已清除")
        elif fetched[chunk.number] is not None:
            tone, word = "run", _("已领取")
        else:
            tone, word = "idle", _("待领取")
        lines.append(
            ChunkLine(chunk.number, chunk.rows, chunk.size_bytes, formats.digest(chunk.content_digest[:16]), tone, word)
        )
    return lines


def problem_text(data: Mapping[str, Any]) -> ErrorText | None:
    """What went wrong, in words; None where nothing did."""
    if not data.get("code"):
        return None
    problem = Problem.from_json(data)
    told = JinqiaoError(clause=problem.clause, **problem.details)
    if problem.code not in error_texts():
        return ErrorText(_("节点报告了平台不认识的问题：%(code)s。") % {"code": problem.code}, "", "")
    told.code = problem.code  # type: ignore[misc]
    return told.text(language())


def view_of(run: Run) -> dict[str, Any]:
    """Everything the live part of the page needs."""
    manifest = manifest_of(run)
    receipt = ExchangeReceipt.objects.select_related("sender", "receiver").filter(run=run).first()
    return {
        "run": run,
        "is_live": run.state in LIVE or run.retry_at is not None,
        "steps": steps(run, manifest, receipt),
        "meter": meter(run, manifest),
        "figures": figures(run, manifest),
        "findings": findings(manifest),
        "manifest": manifest,
        "receipt": receipt,
        "problem": problem_text(run.problem),
        "state_at": moments.now(),
    }

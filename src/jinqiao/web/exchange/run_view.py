"""A run as its page shows it: stages of the bridge, figures, findings, chunks, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.exchange.enums import RunKind, RunState
from jinqiao.exchange.models import ExchangeReceipt, Run
from jinqiao.exchange.queries import contents, progress
from jinqiao.exchange.queries.contents import ChunkState
from jinqiao.exchange.queries.progress import StageFigures, StageState
from jinqiao.exchange.queries.runs import LIVE, makes_up_for_restored, manifest_of, order_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkForm, ChunkKind, Guarantee, Problem, Stage
from jinqiao.kernel.errors import ErrorText, JinqiaoError, error_texts
from jinqiao.web import formats
from jinqiao.web.components import Figure, Pair, Step, Text, Tone
from jinqiao.web.errors import language
from jinqiao.web.exchange.words import (
    SEVERITIES,
    STAGES,
    WAITS,
    check_word,
    limit_words,
    snapshot_words,
    way_words,
    window_words,
)

CHUNK_STATES: Mapping[ChunkState, tuple[Tone, Text]] = {
    ChunkState.STAGED: ("idle", gettext_lazy("在提供方节点")),
    ChunkState.DIRECT: ("run", gettext_lazy("已直送接收节点")),
    ChunkState.RELAYED: ("idle", gettext_lazy("待领取")),
    ChunkState.FETCHED: ("run", gettext_lazy("已领取")),
    ChunkState.DELIVERED: ("good", gettext_lazy("已交付")),
    ChunkState.AWAITED: ("wait", gettext_lazy("等待重传")),
    ChunkState.GONE: ("stop", gettext_lazy("已清除")),
}
_SEVERITY_TONES: Mapping[str, Tone] = {"warn": "warn", "quarantine": "warn", "stop": "bad"}


def steps(run: Run, manifest: BatchManifest | None, receipt: ExchangeReceipt | None) -> list[Step]:
    """The deck of stages."""
    return [
        Step(STAGES[figures.stage], figures.state.value, *_words(run, figures, manifest, receipt))
        for figures in progress.stages(run)
    ]


def _words(
    run: Run, told: StageFigures, manifest: BatchManifest | None, receipt: ExchangeReceipt | None
) -> tuple[str, str]:
    """(figure, note) under a stage's name."""
    stage, is_now = told.stage, told.state is StageState.NOW
    if run.state == RunState.QUEUED and stage is Stage.EXTRACT:
        return "", _("等节点领取")
    if is_now and told.waiting_for:
        return _rows(told.rows_done), str(WAITS.get(told.waiting_for, told.waiting_for))
    if stage is Stage.EXTRACT:
        rows = manifest.rows_read if manifest else told.rows_done
        note = snapshot_words(manifest.snapshot) if manifest else _speed_words(told)
        return (_rows(rows) if rows or manifest else ""), note
    if stage is Stage.STAGE:
        if manifest:
            size = sum(chunk.size_bytes for chunk in manifest.chunks)
            return _chunks(len(manifest.chunks)), _("%(size)s，已加密") % {"size": formats.size(size)}
        return (_chunks(told.chunks_done) if told.chunks_done else ""), _speed_words(told)
    if stage is Stage.CHECK and manifest:
        found = manifest.rows_quarantined
        return _("通过"), _("隔离%(rows)s行") % {"rows": formats.number(found)} if found else ""
    if stage is Stage.HAND_OVER and manifest:
        return _chunks(len(manifest.chunks)), _("发送方已签")
    if stage is Stage.DELIVER and manifest:
        done = manifest.rows if run.state == RunState.RECONCILED else told.rows_done
        share = formats.percent(done, manifest.rows) if is_now and manifest.rows else _speed_words(told)
        return _rows(done), share
    if stage is Stage.RECONCILE and run.counts:
        return _("一致"), _("目标表%(rows)s行") % {"rows": formats.number(run.counts.get("target_rows"))}
    if stage is Stage.RECEIPT and receipt is not None and receipt.completed_at:
        return _("双方已签"), ""
    return "", ""


def _rows(count: int) -> str:
    return _("%(rows)s行") % {"rows": formats.short_number(count)}


def _chunks(count: int) -> str:
    return _("%(count)s块") % {"count": formats.number(count)}


def _speed_words(told: StageFigures) -> str:
    if told.mb_per_s is not None:
        return f"{told.mb_per_s:.1f} MB/s"
    return formats.duration(told.seconds) if told.seconds is not None else ""


@dataclass(frozen=True, slots=True)
class Meter:
    done: int
    total: int
    label: str


def meter(run: Run, speed: progress.Speed | None) -> Meter | None:
    """How far the present stage is; None where its whole is not known."""
    if speed is None or not speed.rows_total or run.state == RunState.QUEUED:
        return None
    label = _("%(stage)s进度") % {"stage": STAGES[progress.present_stage(run)]}
    return Meter(min(speed.rows_done, speed.rows_total), speed.rows_total, label)


def figures(run: Run, speed: progress.Speed | None, findings_count: int) -> list[Figure]:
    """Rows, speed, time left; afterwards what the target took."""
    found = _live_figures(run, speed) if speed is not None else _final_figures(run)
    found.append(
        Figure(
            formats.number(rows_set_aside(run)),
            _("隔离待核"),
            _("行"),
            _("上限%(share)s") % {"share": formats.percent(run.order["body"]["quarantine_limit"], 1)},
            "#findings" if findings_count else "",
        )
    )
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


def rows_set_aside(run: Run) -> int:
    """Also of a run that its checks ended: it has no manifest, but its problem counts them."""
    counted = run.problem.get("details", {}).get("quarantined", 0)
    return run.rows_quarantined or (counted if isinstance(counted, int) else 0)


def _live_figures(run: Run, speed: progress.Speed) -> list[Figure]:
    took = (moments.now() - run.started_at).total_seconds() if run.started_at else progress.waited_s(run)
    return [
        Figure(formats.number(speed.rows_done), _("行数"), "", _of(speed.rows_total)),
        Figure(formats.duration(took), _("已用时") if run.started_at else _("已等待")),
        Figure(
            formats.short_number(round(speed.rows_per_s)) if speed.rows_per_s else None,
            _("现在速度"),
            _("行/秒") if speed.rows_per_s else "",
            f"{speed.mb_per_s:.1f} MB/s" if speed.mb_per_s else "",
        ),
        Figure(formats.duration(speed.left_s) if speed.left_s is not None else None, _("预计还需")),
    ]


def _of(total: int | None) -> str:
    return _("共约%(rows)s行") % {"rows": formats.number(total)} if total else ""


def _final_figures(run: Run) -> list[Figure]:
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    rows = run.rows if run.rows is not None else _last_told(run)
    per_s = round(rows / took) if took and rows else None
    size = f"{run.bytes / took / 1e6:.1f} MB/s" if took and run.bytes else ""
    return [
        Figure(formats.number(rows), _("行数"), "", "", "#chunks" if run.manifest else ""),
        Figure(formats.duration(took) if took is not None else None, _("用时")),
        Figure(formats.short_number(per_s) if per_s else None, _("平均速度"), _("行/秒") if per_s else "", size),
    ]


def _last_told(run: Run) -> int:
    step = progress.told(run, progress.present_stage(run))
    return step.rows_done if step else 0


def facts(run: Run, manifest: BatchManifest | None) -> list[Pair]:
    """How the run was ordered and how it was read, in plain words."""
    order = order_of(run)
    pairs = [
        Pair(_("做法"), way_words(order.mode.value, order.delivery.value), wide=True),
        Pair(_("缘由"), _cause(run)),
        Pair(_("来源表"), order.source_table, code=True),
        Pair(_("目标表"), order.target_table, code=True),
        Pair(_("限速"), limit_words(order.rows_per_s, order.mb_per_s)),
        Pair(_("读取时段"), window_words([{"since": w.since, "until": w.until} for w in order.windows])),
    ]
    if order.after or order.until:
        pairs.append(Pair(_("水位范围"), _window(order.after.partition("#")[0], order.until), code=True))
    if makes_up_for_restored(run):
        pairs.append(
            Pair(_("从头读取"), _("目标库被恢复到较早的状态，缺上一次交付的批次：重读全部，合并补齐"), wide=True)
        )
    if manifest is not None:
        pairs += [
            Pair(_("一致性"), _consistency(manifest), manifest.snapshot),
            Pair(_("读取连接"), _("%(count)s个") % {"count": manifest.readers}),
            Pair(
                _("中断续传"),
                _("%(count)s次，已落地的分块没有重读") % {"count": manifest.resumed}
                if manifest.resumed
                else _("没有中断"),
            ),
            Pair(
                _("分块写法"),
                _("PostgreSQL二进制行，逐字节直通") if manifest.form is ChunkForm.PGCOPY else _("Arrow列式"),
            ),
        ]
        if manifest.restarted:
            times = _("%(count)s次，此前落地的分块已重读") % {"count": len(manifest.restarted)}
            pairs.append(Pair(_("重新开始"), times, ", ".join(manifest.restarted)))
        if manifest.rows_deleted:
            pairs.append(Pair(_("来源已删除"), _("%(rows)s行") % {"rows": formats.number(manifest.rows_deleted)}))
    if run.counts.get("guarantee"):
        once = run.counts["guarantee"] == Guarantee.EXACTLY_ONCE
        pairs.append(Pair(_("交付保证"), _("恰好一次") if once else _("至少一次：中断处的一批可能写了两遍")))
    return pairs


def _consistency(manifest: BatchManifest) -> str:
    words = snapshot_words(manifest.snapshot)
    return (
        _("%(count)s个连接读%(words)s") % {"count": manifest.readers, "words": words} if manifest.readers > 1 else words
    )


def _window(after: str, until: str) -> str:
    return _("%(since)s之后，到%(until)s") % {"since": after or _("最早"), "until": until or _("最新")}


def _cause(run: Run) -> str:
    kind = "" if run.kind == RunKind.ORDINARY else _("（%(kind)s）") % {"kind": run.get_kind_display()}
    return f"{run.get_cause_display()}{kind}"


@dataclass(frozen=True, slots=True)
class FindingLine:
    check: str
    version: str
    item: str
    severity: Text
    tone: Tone
    rows: int
    share: str
    samples: str


def findings(run: Run, manifest: BatchManifest | None) -> list[FindingLine]:
    if manifest is None:
        return []
    versions = {(finding.check, finding.item): finding.version for finding in manifest.findings}
    return [
        FindingLine(
            check_word(row.check),
            f"{row.check}@{versions[row.check, row.item]}",
            row.item_name,
            SEVERITIES[row.severity.value],
            _SEVERITY_TONES[row.severity.value],
            row.rows,
            formats.percent(row.rows, manifest.rows_read),
            _("、").join(formats.number(number) for number in row.sample_rows),
        )
        for row in contents.findings(run)
    ]


@dataclass(frozen=True, slots=True)
class ChunkLine:
    number: int
    kind: Text
    rows: int
    size_bytes: int
    digest: str
    tone: Tone
    state: Text
    fetched_at: datetime | None


def chunks(run: Run) -> list[ChunkLine]:
    """Chunks of the batch with where they are."""
    return [
        ChunkLine(
            row.number,
            _("删除的主键") if row.kind is ChunkKind.DELETES else _("数据行"),
            row.rows,
            row.size_bytes,
            formats.digest(row.content_digest[:16]),
            *CHUNK_STATES[row.state],
            row.fetched_at,
        )
        for row in contents.chunks(run)
    ]


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
    speed = progress.speed(run)
    found = findings(run, manifest)
    return {
        "run": run,
        "is_live": run.state in LIVE or run.retry_at is not None,
        "steps": steps(run, manifest, receipt),
        "meter": meter(run, speed),
        "figures": figures(run, speed, len(found)),
        "facts": facts(run, manifest),
        "findings": found,
        "comparisons": contents.comparisons(run),
        "manifest": manifest,
        "receipt": receipt,
        "problem": problem_text(run.problem),
        "state_at": moments.now(),
    }

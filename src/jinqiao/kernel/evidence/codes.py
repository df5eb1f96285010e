"""What a check of evidence can find. Codes are stable: programs match on them; words stand in `kernel/texts/evidence.toml`."""

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinqiao.kernel.errors import Language


class Code(enum.StrEnum):
    """Kinds of damage, and of what stays open."""

    # the file
    UNREADABLE = "pack.unreadable"
    TRUNCATED = "pack.truncated"
    CONTAINER = "pack.container"
    MANIFEST_FORM = "manifest.form"
    MANIFEST_SIGNATURE = "manifest.signature"
    MANIFEST_DIGEST = "manifest.digest"
    MEMBER_MISSING = "manifest.member_missing"
    MEMBER_EXTRA = "manifest.member_extra"
    MEMBER_FORM = "manifest.member_form"
    SUITE_UNKNOWN = "suite.unknown"
    # who signed
    IDENTITY_BROKEN = "identity.broken"
    IDENTITY_UNKNOWN = "identity.unknown"
    IDENTITY_UNTRUSTED = "identity.not_trusted"
    KEY_TIME = "key.not_valid_then"
    # records and their chain
    RECORD_ALTERED = "record.altered"
    RECORD_REMOVED = "record.removed"
    RECORD_INSERTED = "record.inserted"
    RECORDS_REORDERED = "record.reordered"
    NUMBER_GAP = "record.number_gap"
    RECORD_MISPLACED = "record.misplaced"
    BATCH_MISSING = "batch.missing"
    BATCH_ROOT = "batch.root"
    BATCH_PREVIOUS = "batch.previous"
    BATCH_CHAIN = "batch.chain"
    BATCH_FORM = "batch.form"
    LANE_CUT_OFF = "lane.cut_off"
    LANE_MISSING = "lane.missing"
    HEAD_DIFFERS = "lane.head_differs"
    # anchors and witnesses
    ANCHOR_SIGNATURE = "anchor.signature"
    ANCHOR_OTHER_CHAIN = "anchor.other_chain"
    ANCHOR_MISSING = "anchor.missing"
    COUNTERSIGNATURE_WRONG = "countersignature.wrong"
    COUNTERSIGNATURE_MISSING = "countersignature.missing"
    # receipts
    RECEIPT_SIGNATURE = "receipt.signature"
    RECEIPT_DIFFERS = "receipt.differs"
    RECEIPT_UNSIGNED = "receipt.unsigned"
    RECEIPT_CONTRADICTS = "receipt.contradicts"
    RECEIPT_WITHOUT_CALL = "receipt.without_call"
    # deletion after the time of keeping
    DELETION_NOT_COVERED = "deletion.not_covered"
    DELETION_EARLY = "deletion.early"
    DELETION_SIGNATURE = "deletion.signature"
    # proofs
    PROOF_FORM = "proof.form"
    PROOF_SIGNATURE = "proof.signature"
    PROOF_PATH = "proof.path"
    CALL_UNKNOWN = "proof.call_unknown"
    ANSWER_DIFFERS = "proof.answer_differs"


OPEN = frozenset(
    {
        Code.ANCHOR_MISSING,
        Code.COUNTERSIGNATURE_MISSING,
        Code.RECEIPT_UNSIGNED,
        Code.RECEIPT_CONTRADICTS,
        Code.RECEIPT_WITHOUT_CALL,
        Code.CALL_UNKNOWN,
        Code.ANSWER_DIFFERS,
    }
)
"""What is no damage: the evidence is whole, and a person has to look into what it says."""

MOST_FINDINGS = 200


@cache
def code_texts() -> Mapping[str, Mapping[str, str]]:
    """Words of each code: `message`, `meaning` and their English, with `{lane}`, `{batch}`, `{record}` and details."""
    text = (files("jinqiao.kernel") / "texts" / "evidence.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be, and where. `batch` and `record` are 0 where they say nothing."""

    code: Code
    lane: str = ""
    batch: int = 0
    record: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_damage(self) -> bool:
        return self.code not in OPEN

    def place(self, language: Language = "en") -> str:
        """Where it is; empty where it concerns the whole."""
        zh = language == "zh"
        parts = []
        if self.lane:
            parts.append(f"通道 {self.lane}" if zh else f"lane {self.lane}")
        if self.batch:
            parts.append(f"第 {self.batch} 批" if zh else f"batch {self.batch}")
        if self.record:
            parts.append(f"第 {self.record} 条" if zh else f"record {self.record}")
        return ("，" if zh else ", ").join(parts)

    def text(self, language: Language = "en") -> str:
        entry = code_texts()[self.code.value]
        words = entry["message" if language == "zh" else "message_en"].format_map(_Blank(self.details))
        place = self.place(language)
        if not place:
            return words
        return f"{place}：{words}" if language == "zh" else f"{place}: {words}"

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code.value,
            "damage": self.is_damage,
            "lane": self.lane,
            "batch": self.batch,
            "record": self.record,
            "details": dict(self.details),
            "zh": self.text("zh"),
            "en": self.text("en"),
        }


@dataclass(slots=True)
class Findings:
    """Findings in the order in which they were made; the first ones only, where there are very many."""

    all: list[Finding] = field(default_factory=list)
    more: int = 0

    def add(self, code: Code, lane: str = "", batch: int = 0, record: int = 0, **details: Any) -> None:
        if len(self.all) >= MOST_FINDINGS:
            self.more += 1
            return
        self.all.append(Finding(code, lane, batch, record, details))

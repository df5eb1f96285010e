"""What a grant allows, as it travels with every order and every policy snapshot."""

import enum
from dataclasses import dataclass
from datetime import date

from jinqiao.kernel.contracts.base import Contract
from jinqiao.kernel.contracts.tables import LogicalType, Mask, RowCondition


class SharingMode(enum.StrEnum):
    """Means of sharing: 政务数据共享条例 第二十二条."""

    INTERFACE = "interface"  # 服务接口
    BATCH = "batch"  # 批量交换
    FILE = "file"  # 文件下载


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedItem(Contract):
    """A data item of the grant bound to a column of the source."""

    item: str  # name of the data item in the catalogue, Chinese; unique within the entry
    code: str  # name the consumer sees: column of the target table, key of a JSON answer
    column: str  # column of the source table
    type: LogicalType
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    mask: Mask = Mask.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms(Contract):
    """Immutable terms of a grant. Whoever moves or answers data checks them by its own clock.

    A grant is live on `valid_from` ≤ today ≤ `valid_until` (local dates, both included).
    """

    grant_id: str  # public number, e.g. SQ-2026-0001/1
    entry_code: str  # resource code of the catalogue entry
    provider: str  # unified social credit code
    provider_name: str
    consumer: str
    consumer_name: str
    mode: SharingMode
    items: tuple[GrantedItem, ...]
    row_filter: tuple[RowCondition, ...] = ()
    purposes: tuple[str, ...] = ()
    case_number_required: bool = False
    valid_from: date
    valid_until: date

    def is_live(self, on: date) -> bool:
        return self.valid_from <= on <= self.valid_until

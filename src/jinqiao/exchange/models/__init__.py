"""Control side of movement. The control plane never opens a department's database: it orders, nodes do."""

from jinqiao.exchange.models.alerts import Alert, AlertChannel, AlertDelivery, AlertRule
from jinqiao.exchange.models.bundles import BundleRecord
from jinqiao.exchange.models.evidence import EvidenceAnchor, EvidenceDeletion, EvidenceSegment
from jinqiao.exchange.models.nodes import Node, NodeIdentity
from jinqiao.exchange.models.oversight import Anomaly, CallTally, SampledCall, Sampling
from jinqiao.exchange.models.runs import Comparison, ExchangeReceipt, NodeCommand, RelayChunk, Run
from jinqiao.exchange.models.services import (
    ApplicationKey,
    Call,
    CallSubject,
    PolicyVersion,
    QueryService,
)
from jinqiao.exchange.models.sources import ENGINES, Binding, DataSource, SourceLimits, SourceTable
from jinqiao.exchange.models.tasks import (
    COPY_MODES,
    DELIVERIES,
    DRIFT_CHOICES,
    LEDGER_PLACES,
    RECONCILES,
    ExchangeTask,
    ReloadApproval,
    ReplicationSlot,
)
from jinqiao.exchange.models.work import OutboxMessage, ProcessBeat, SeenNonce

__all__ = [
    "COPY_MODES",
    "DELIVERIES",
    "DRIFT_CHOICES",
    "ENGINES",
    "LEDGER_PLACES",
    "RECONCILES",
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertRule",
    "Anomaly",
    "ApplicationKey",
    "Binding",
    "BundleRecord",
    "Call",
    "CallSubject",
    "CallTally",
    "Comparison",
    "DataSource",
    "EvidenceAnchor",
    "EvidenceDeletion",
    "EvidenceSegment",
    "ExchangeReceipt",
    "ExchangeTask",
    "Node",
    "NodeCommand",
    "NodeIdentity",
    "OutboxMessage",
    "PolicyVersion",
    "ProcessBeat",
    "QueryService",
    "RelayChunk",
    "ReloadApproval",
    "ReplicationSlot",
    "Run",
    "SampledCall",
    "Sampling",
    "SeenNonce",
    "SourceLimits",
    "SourceTable",
]

"""Control side of movement. The control plane never opens a department's database: it orders, nodes do."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application, Organisation, Post
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.exchange.enums import CommandState, NetworkZone, NodeKind, NodeState, RunState, SourceState, TaskState
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.sharing.models import Grant

ENGINES = [
    (Engine.POSTGRESQL.value, "PostgreSQL"),
    (Engine.MYSQL.value, "MariaDB / MySQL"),
    (Engine.SQLITE.value, "SQLite"),
    (Engine.CSV.value, _("CSV文件夹")),
]
COPY_MODES = [(CopyMode.FULL.value, _("全量")), (CopyMode.WATERMARK.value, _("增量（水位）"))]
COMMAND_KINDS = [(kind.value, kind.value) for kind in CommandKind]


class Node(models.Model):
    """An installation with an identity of its own: a department's front-end node or a query gateway."""

    number = models.CharField(_("节点标识"), max_length=60, unique=True)
    name = models.CharField(_("名称"), max_length=100)
    kind = models.CharField(_("类别"), max_length=12, choices=NodeKind)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="nodes", verbose_name=_("机构"))
    zone = models.CharField(_("网络"), max_length=10, choices=NetworkZone, default=NetworkZone.EXTRANET)
    state = models.CharField(_("状态"), max_length=10, choices=NodeState, default=NodeState.EXPECTED)
    identity = models.JSONField(_("公开身份"), default=dict)  # kernel PublicIdentity; empty until registered
    key_id = models.CharField(_("密钥标识"), max_length=64, blank=True)
    code_digest = models.CharField(_("接入码摘要"), max_length=64, blank=True)
    code_expires_at = models.DateTimeField(_("接入码有效至"), null=True, blank=True)
    registered_at = models.DateTimeField(_("接入时间"), null=True, blank=True)
    seen_at = models.DateTimeField(_("最近联系"), null=True, blank=True)
    silence_noticed_at = models.DateTimeField(_("发现失联时间"), null=True, blank=True)
    version = models.CharField(_("程序版本"), max_length=20, blank=True)
    clock_offset_s = models.FloatField(_("时钟偏差（秒）"), null=True, blank=True)
    spool_free_bytes = models.PositiveBigIntegerField(_("暂存余量"), null=True, blank=True)

    class Meta:
        verbose_name = _("节点")
        verbose_name_plural = _("节点")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["key_id"], condition=~Q(key_id=""), name="node_key_id_once"),
        ]

    def __str__(self) -> str:
        return self.name


class DataSource(models.Model):
    """A department's database, as its node reaches it. The password is sealed to the node and cannot be read here."""

    number = models.CharField(_("数据源标识"), max_length=60, unique=True)
    name = models.CharField(_("名称"), max_length=100)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="data_sources", verbose_name=_("机构"))
    node = models.ForeignKey(Node, models.PROTECT, related_name="data_sources", verbose_name=_("节点"))
    engine = models.CharField(_("类型"), max_length=12, choices=ENGINES)
    host = models.CharField(_("主机"), max_length=200, blank=True)
    port = models.PositiveIntegerField(_("端口"), null=True, blank=True)
    database = models.CharField(_("数据库"), max_length=300)
    user = models.CharField(_("账号"), max_length=100, blank=True)
    sealed_password = models.TextField(_("密封口令"), blank=True)
    gateway_sealed_password = models.TextField(_("密封口令（网关）"), blank=True)
    sealed_for_gateway = models.ForeignKey(
        Node, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("口令密封给网关")
    )
    is_writable = models.BooleanField(_("可作为交付目标"), default=False)
    state = models.CharField(_("状态"), max_length=12, choices=SourceState, default=SourceState.UNTESTED)
    state_note = models.JSONField(_("状态说明"), default=dict)  # kernel Problem as JSON, or server version
    tested_at = models.DateTimeField(_("测试时间"), null=True, blank=True)
    tables_listed_at = models.DateTimeField(_("读取表结构时间"), null=True, blank=True)
    created_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("登记岗位"))
    created_at = models.DateTimeField(_("登记时间"))

    class Meta:
        verbose_name = _("数据源")
        verbose_name_plural = _("数据源")
        ordering = ["number"]

    def __str__(self) -> str:
        return self.name


class SourceTable(models.Model):
    """A table of a data source as its node listed it."""

    source = models.ForeignKey(DataSource, models.CASCADE, related_name="tables", verbose_name=_("数据源"))
    name = models.CharField(_("表名"), max_length=200)
    comment = models.CharField(_("注释"), max_length=500, blank=True)
    row_estimate = models.BigIntegerField(_("估计行数"), null=True, blank=True)
    schema = models.JSONField(_("结构"))  # kernel TableSchema as JSON

    class Meta:
        verbose_name = _("数据表")
        verbose_name_plural = _("数据表")
        ordering = ["source_id", "name"]
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="table_name_once_per_source")]

    def __str__(self) -> str:
        return self.name


class Binding(models.Model):
    """Where an entry's data stands: data items bound to columns of a table (挂接)."""

    entry = models.OneToOneField(CatalogueEntry, models.PROTECT, related_name="binding", verbose_name=_("目录条目"))
    source = models.ForeignKey(DataSource, models.PROTECT, related_name="bindings", verbose_name=_("数据源"))
    table = models.CharField(_("表名"), max_length=200)
    columns = models.JSONField(_("列对应"))  # data item code → column name
    key_columns = models.JSONField(_("主键列"), default=list)
    watermark_column = models.CharField(_("水位列"), max_length=200, blank=True)
    lookup_items = models.JSONField(_("查询条件项"), default=list)  # item codes by which a query service looks up
    bound_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("挂接岗位"))
    bound_at = models.DateTimeField(_("挂接时间"))

    class Meta:
        verbose_name = _("挂接")
        verbose_name_plural = _("挂接")

    def __str__(self) -> str:
        return f"{self.entry_id} → {self.table}"


class ExchangeTask(models.Model):
    """The standing order of one batch grant."""

    number = models.CharField(_("任务编号"), max_length=40, unique=True)
    grant = models.OneToOneField(Grant, models.PROTECT, related_name="exchange_task", verbose_name=_("授权"))
    mode = models.CharField(_("方式"), max_length=10, choices=COPY_MODES, default=CopyMode.FULL.value)
    target = models.ForeignKey(
        DataSource, models.PROTECT, null=True, blank=True, related_name="incoming_tasks", verbose_name=_("目标数据源")
    )
    target_table = models.CharField(_("目标表"), max_length=200, blank=True)
    schedule = models.CharField(
        _("计划"), max_length=60, blank=True
    )  # "", "hourly", "daily HH:MM", "weekly D HH:MM", "monthly DD HH:MM"
    next_run_at = models.DateTimeField(_("下次运行"), null=True, blank=True)
    state = models.CharField(_("状态"), max_length=10, choices=TaskState, default=TaskState.DRAFT)
    resumes_with_grant = models.BooleanField(_("随授权恢复"), default=False)  # paused because its grant was suspended
    cursor = models.CharField(_("水位"), max_length=100, blank=True)
    overlap_s = models.PositiveIntegerField(_("回看秒数"), default=300)
    rows_per_s = models.PositiveIntegerField(_("限速（行/秒）"), null=True, blank=True)
    chunk_rows = models.PositiveIntegerField(_("分块行数"), default=100_000)
    checks = models.JSONField(_("检查规则"), default=list)
    created_at = models.DateTimeField(_("建立时间"))

    class Meta:
        verbose_name = _("交换任务")
        verbose_name_plural = _("交换任务")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.number


class Run(models.Model):
    """One execution of an exchange task."""

    number = models.CharField(_("运行编号"), max_length=60, unique=True)  # RUN-20260318-0041
    task = models.ForeignKey(ExchangeTask, models.PROTECT, related_name="runs", verbose_name=_("任务"))
    state = models.CharField(_("状态"), max_length=12, choices=RunState, default=RunState.QUEUED)
    mode = models.CharField(_("方式"), max_length=10, choices=COPY_MODES)
    attempt = models.PositiveIntegerField(_("次数"), default=1)
    order = models.JSONField(_("指令"), default=dict)  # SignedMessage of an ExchangeOrder
    manifest = models.JSONField(_("批清单"), default=dict)  # BatchManifest
    progress = models.JSONField(_("进度"), default=dict)  # stage → Progress
    counts = models.JSONField(_("交付结果"), default=dict)  # DeliveryCounts
    seconds = models.JSONField(_("用时"), default=dict)
    problem = models.JSONField(_("问题"), default=dict)  # Problem
    rows = models.PositiveBigIntegerField(_("行数"), null=True, blank=True)
    rows_quarantined = models.PositiveBigIntegerField(_("隔离行数"), default=0)
    triggered_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("发起岗位")
    )
    queued_at = models.DateTimeField(_("排队时间"))
    retry_at = models.DateTimeField(_("自动重试时间"), null=True, blank=True)
    started_at = models.DateTimeField(_("开始时间"), null=True, blank=True)
    finished_at = models.DateTimeField(_("结束时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("运行")
        verbose_name_plural = _("运行")
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "retry_at"], name="run_state_retry")]
        constraints = [
            models.UniqueConstraint(
                fields=["task"],
                condition=Q(state__in=["queued", "extracting", "delivering"]),
                name="run_one_live_per_task",
            ),
        ]

    def __str__(self) -> str:
        return self.number


class ExchangeReceipt(models.Model):
    """The receipt of a run with both signatures over the same bytes."""

    run = models.OneToOneField(Run, models.PROTECT, related_name="receipt", verbose_name=_("运行"))
    body = models.JSONField(_("回执"))  # kernel Receipt
    batch_digest = models.CharField(_("批摘要"), max_length=128)
    sender = models.ForeignKey(Node, models.PROTECT, related_name="+", verbose_name=_("发送方节点"))
    sender_key_id = models.CharField(max_length=64)
    sender_signature = models.TextField(_("发送方签名"))
    receiver = models.ForeignKey(Node, models.PROTECT, related_name="+", verbose_name=_("接收方节点"))
    receiver_key_id = models.CharField(max_length=64, blank=True)
    receiver_signature = models.TextField(_("接收方签名"), blank=True)
    completed_at = models.DateTimeField(_("完成时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("回执")
        verbose_name_plural = _("回执")

    def __str__(self) -> str:
        return self.batch_digest[:16]


class NodeCommand(models.Model):
    """A command waiting for, or answered by, a node."""

    number = models.CharField(
        _("指令编号"), max_length=40, unique=True
    )  # random: a node's ledger outlives a reset platform
    node = models.ForeignKey(Node, models.PROTECT, related_name="commands", verbose_name=_("节点"))
    kind = models.CharField(_("类别"), max_length=20, choices=COMMAND_KINDS)
    state = models.CharField(_("状态"), max_length=10, choices=CommandState, default=CommandState.WAITING)
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, related_name="commands", verbose_name=_("运行"))
    source = models.ForeignKey(
        DataSource, models.PROTECT, null=True, blank=True, related_name="commands", verbose_name=_("数据源")
    )
    body = models.JSONField(_("指令"))  # SignedMessage of a Command
    result = models.JSONField(_("结果"), default=dict)
    attempt = models.PositiveIntegerField(_("次数"), default=1)
    created_at = models.DateTimeField(_("下达时间"))
    taken_at = models.DateTimeField(_("领取时间"), null=True, blank=True)
    finished_at = models.DateTimeField(_("完成时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("节点指令")
        verbose_name_plural = _("节点指令")
        ordering = ["id"]
        indexes = [models.Index(fields=["node", "state"], name="command_node_state")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class RelayChunk(models.Model):
    """A chunk that the platform relays: ciphertext for the consumer's node, which the platform cannot read."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="relay_chunks", verbose_name=_("运行"))
    number = models.PositiveIntegerField(_("分块"))
    size_bytes = models.PositiveBigIntegerField(_("大小"))
    digest = models.CharField(_("摘要"), max_length=128)
    path = models.CharField(max_length=300)
    received_at = models.DateTimeField(_("收到时间"))
    fetched_at = models.DateTimeField(_("取走时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("中转分块")
        verbose_name_plural = _("中转分块")
        ordering = ["run_id", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="relay_chunk_once_per_run")]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}"


class QueryService(models.Model):
    """The query service that an interface grant makes."""

    number = models.CharField(_("服务标识"), max_length=60, unique=True)
    grant = models.OneToOneField(Grant, models.PROTECT, related_name="query_service", verbose_name=_("授权"))
    gateway = models.ForeignKey(  # empty until a gateway that can serve the provider is set up
        Node, models.PROTECT, null=True, blank=True, related_name="query_services", verbose_name=_("网关")
    )
    applications = models.ManyToManyField(Application, related_name="query_services", verbose_name=_("应用"))
    row_cap = models.PositiveIntegerField(_("每次返回上限"), default=100)
    calls_per_minute = models.PositiveIntegerField(_("每分钟次数"), default=600)
    is_suspended = models.BooleanField(_("已暂停"), default=False)
    created_at = models.DateTimeField(_("开通时间"))

    class Meta:
        verbose_name = _("查询服务")
        verbose_name_plural = _("查询服务")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.number


class ApplicationKey(models.Model):
    """An HMAC key of an application for one gateway; shown once to the developer, then sealed to the gateway."""

    application = models.ForeignKey(Application, models.CASCADE, related_name="keys", verbose_name=_("应用"))
    gateway = models.ForeignKey(Node, models.PROTECT, related_name="application_keys", verbose_name=_("网关"))
    key_id = models.CharField(_("密钥标识"), max_length=64, unique=True)
    algorithm = models.CharField(_("算法"), max_length=20)
    sealed_secret = models.TextField(_("密封密钥"))
    created_at = models.DateTimeField(_("签发时间"))
    not_after = models.DateTimeField(_("有效至"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("吊销时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("应用密钥")
        verbose_name_plural = _("应用密钥")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.key_id


class PolicyVersion(models.Model):
    """A signed policy snapshot as it was served to a gateway."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="policies", verbose_name=_("网关"))
    version = models.PositiveIntegerField(_("版本"))
    body = models.JSONField(_("快照"))  # SignedMessage of a PolicySnapshot
    content_digest = models.CharField(_("内容摘要"), max_length=64)  # of what is enforced, without times
    issued_at = models.DateTimeField(_("签发时间"))
    expires_at = models.DateTimeField(_("有效至"))

    class Meta:
        verbose_name = _("策略快照")
        verbose_name_plural = _("策略快照")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "version"], name="policy_version_once_per_gateway")]

    def __str__(self) -> str:
        return f"{self.gateway_id} v{self.version}"


class Call(models.Model):
    """A query call, answered or refused, as its gateway recorded and shipped it."""

    call_id = models.CharField(_("调用编号"), max_length=40, unique=True)
    gateway = models.ForeignKey(Node, models.PROTECT, related_name="calls", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField(_("时间"))
    service = models.CharField(_("服务"), max_length=60, blank=True)
    grant_number = models.CharField(_("授权"), max_length=40, blank=True)
    application = models.CharField(_("应用"), max_length=40, blank=True)
    consumer = models.CharField(_("需求部门"), max_length=18, blank=True)
    provider = models.CharField(_("提供部门"), max_length=18, blank=True)
    purpose = models.CharField(_("用途"), max_length=200, blank=True)
    case_number = models.CharField(_("业务编号"), max_length=100, blank=True)
    outcome = models.CharField(_("结果"), max_length=80)
    rows = models.PositiveIntegerField(_("行数"))
    duration_us = models.PositiveIntegerField(_("用时（微秒）"))
    record = models.JSONField(_("记录"))  # CallRecord

    class Meta:
        verbose_name = _("查询调用")
        verbose_name_plural = _("查询调用")
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "number"], name="call_once_per_lane")]
        indexes = [
            models.Index(fields=["grant_number", "at"], name="call_grant_at"),
            models.Index(fields=["at"], name="call_at"),
        ]

    def __str__(self) -> str:
        return self.call_id


class EvidenceSegment(models.Model):
    """A verified batch of a gateway's evidence: one link of its lane's chain."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="evidence_segments", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    batch = models.PositiveBigIntegerField(_("批次"))
    first_number = models.PositiveBigIntegerField(_("起始记录"))
    last_number = models.PositiveBigIntegerField(_("结束记录"))
    merkle_root = models.CharField(_("默克尔根"), max_length=128)
    previous = models.CharField(_("上一环"), max_length=128)
    chain = models.CharField(_("本环"), max_length=128)
    received_at = models.DateTimeField(_("收到时间"))

    class Meta:
        verbose_name = _("存证批次")
        verbose_name_plural = _("存证批次")
        ordering = ["gateway_id", "lane", "batch"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "batch"], name="segment_once_per_lane")]

    def __str__(self) -> str:
        return f"{self.lane}/{self.batch}"


class SeenNonce(models.Model):
    """A nonce of a signed call, kept until its time window has passed: the same call is never taken twice."""

    key_id = models.CharField(max_length=64)
    nonce = models.CharField(max_length=128)
    expires_at = models.BigIntegerField()  # seconds of real time, not of business time

    class Meta:
        verbose_name = _("已用随机数")
        verbose_name_plural = _("已用随机数")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["key_id", "nonce"], name="nonce_once_per_key")]
        indexes = [models.Index(fields=["expires_at"], name="nonce_expires")]

    def __str__(self) -> str:
        return self.nonce


class ProcessBeat(models.Model):
    """When a process of the platform last said that it works: seconds of real time."""

    name = models.CharField(_("进程"), max_length=60, unique=True)
    at = models.BigIntegerField(_("时间"))

    class Meta:
        verbose_name = _("进程心跳")
        verbose_name_plural = _("进程心跳")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class OutboxMessage(models.Model):
    """Work for the worker, written in the transaction that caused it. The durable workflow's id derives from the row's."""

    topic = models.CharField(_("主题"), max_length=60)
    body = models.JSONField(_("内容"))
    created_at = models.DateTimeField(_("时间"))
    taken_at = models.DateTimeField(_("交办时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("发件箱消息")
        verbose_name_plural = _("发件箱消息")
        ordering = ["id"]
        indexes = [models.Index(fields=["taken_at", "id"], name="outbox_waiting")]

    def __str__(self) -> str:
        return f"{self.topic} #{self.pk}"

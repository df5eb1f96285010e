"""Where departments' data stands, how its nodes reach it, and how it is spared."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.exchange.enums import SourceState
from jinqiao.exchange.models.nodes import Node
from jinqiao.kernel.contracts.tables import Engine

ENGINES = [
    (Engine.POSTGRESQL.value, "PostgreSQL"),
    (Engine.MYSQL.value, "MariaDB / MySQL"),
    (Engine.SQLITE.value, "SQLite"),
    (Engine.ODBC.value, _("ODBC（达梦、人大金仓、Oracle、SQL Server等）")),
    (Engine.CSV.value, _("CSV文件夹")),
    (Engine.EXCEL.value, _("Excel工作簿")),
    (Engine.JSONL.value, _("JSON Lines文件")),
    (Engine.PARQUET.value, _("Parquet文件")),
    (Engine.FOLDER.value, _("文件夹（文档、扫描件）")),
    (Engine.HTTP.value, _("HTTP接口（分页JSON）")),
]


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
    options = models.JSONField(_("连接选项"), default=dict, blank=True)  # by engine; never a secret
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
    arrival_digest = models.CharField(_("到达通知口令摘要"), max_length=64, blank=True)
    arrived_at = models.DateTimeField(_("最近到达通知"), null=True, blank=True)
    retired_at = models.DateTimeField(_("停用时间"), null=True, blank=True)
    created_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("登记岗位"))
    created_at = models.DateTimeField(_("登记时间"))

    class Meta:
        verbose_name = _("数据源")
        verbose_name_plural = _("数据源")
        ordering = ["number"]

    def __str__(self) -> str:
        return self.name


class SourceLimits(models.Model):
    """How a source is spared, as its department wants it; a consumer's task may be stricter, never laxer."""

    source = models.OneToOneField(DataSource, models.CASCADE, related_name="limits", verbose_name=_("数据源"))
    rows_per_s = models.PositiveIntegerField(_("限速（行/秒）"), null=True, blank=True)
    mb_per_s = models.FloatField(_("限速（MB/秒）"), null=True, blank=True)
    windows = models.JSONField(_("允许读取的时段"), default=list, blank=True)  # kernel Window; empty = at any hour
    parallel = models.PositiveSmallIntegerField(_("并行读取上限"), default=1)
    statement_timeout_s = models.PositiveIntegerField(_("语句超时（秒）"), default=3600)
    set_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("设置岗位"))
    set_at = models.DateTimeField(_("设置时间"))

    class Meta:
        verbose_name = _("数据源保护")
        verbose_name_plural = _("数据源保护")

    def __str__(self) -> str:
        return str(self.source_id)


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
    transforms = models.JSONField(
        _("转换"), default=list, blank=True
    )  # kernel Transform, applied at the provider's node
    lookup_items = models.JSONField(_("查询条件项"), default=list)  # item codes by which a query service looks up
    bound_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("挂接岗位"))
    bound_at = models.DateTimeField(_("挂接时间"))

    class Meta:
        verbose_name = _("挂接")
        verbose_name_plural = _("挂接")

    def __str__(self) -> str:
        return f"{self.entry_id} → {self.table}"

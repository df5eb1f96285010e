"""The catalogue: classification tree, entries, their versions and data items.

An entry is what a department answers for over the years; a version is what it says about it at a time. Readers always see
the published version; a draft beside it changes nothing until it is published itself.
"""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.catalogue.enums import (
    DataLevel,
    FormatClass,
    ItemType,
    PersonalInformation,
    SharingCategory,
    SharingMeans,
    SharingMeansClass,
    UpdateCycle,
    VersionState,
)


class ClassificationNode(models.Model):
    """A node of the classification tree. `code` is the whole front code (类1 项2 目3 细目 variable) down to this node."""

    code = models.CharField(_("分类码"), max_length=40, unique=True)
    name = models.CharField(_("名称"), max_length=200)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children", verbose_name=_("上级")
    )
    level = models.PositiveSmallIntegerField(_("层级"))  # 1 类, 2 项, 3 目, 4 and deeper 细目

    class Meta:
        verbose_name = _("分类节点")
        verbose_name_plural = _("分类节点")
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class CatalogueEntry(models.Model):
    """A resource that a department answers for (政务数据目录条目)."""

    provider = models.ForeignKey(Organisation, models.PROTECT, related_name="entries", verbose_name=_("提供方"))
    node = models.ForeignKey(ClassificationNode, models.PROTECT, related_name="entries", verbose_name=_("分类"))
    sequence = models.PositiveIntegerField(_("顺序号"), null=True, blank=True)
    code = models.CharField(_("信息资源代码"), max_length=64, unique=True, null=True, blank=True)
    live_version = models.OneToOneField(
        "EntryVersion", models.PROTECT, null=True, blank=True, related_name="live_of", verbose_name=_("在用版本")
    )
    created_at = models.DateTimeField(_("建立时间"))
    withdrawn_at = models.DateTimeField(_("撤销时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("目录条目")
        verbose_name_plural = _("目录条目")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["node", "sequence"], name="entry_sequence_once_per_node"),
            models.CheckConstraint(
                condition=Q(code__isnull=True, sequence__isnull=True) | Q(code__isnull=False, sequence__isnull=False),
                name="entry_code_and_sequence_together",
            ),
        ]

    def __str__(self) -> str:
        return self.code or f"#{self.pk}"


class EntryVersion(models.Model):
    """What the entry says at a time: the core fields of the guide, and grading and assessments of rules-2025."""

    entry = models.ForeignKey(CatalogueEntry, models.CASCADE, related_name="versions", verbose_name=_("条目"))
    number = models.PositiveIntegerField(_("版本"))
    state = models.CharField(_("状态"), max_length=20, choices=VersionState, default=VersionState.DRAFT)
    rule_set = models.CharField(_("规则集"), max_length=40)

    name = models.CharField(_("信息资源名称"), max_length=128)
    provider_section = models.CharField(_("提供方内部部门"), max_length=100, blank=True)
    abstract = models.CharField(_("信息资源摘要"), max_length=1000)
    format_class = models.CharField(_("信息资源格式分类"), max_length=2, choices=FormatClass)
    format_type = models.CharField(_("信息资源格式类型"), max_length=40)
    format_note = models.CharField(_("其他类型资源格式描述"), max_length=200, blank=True)
    sharing_category = models.CharField(_("共享类型"), max_length=1, choices=SharingCategory)
    sharing_condition = models.CharField(_("共享条件"), max_length=500, blank=True)
    refusal_basis = models.CharField(_("不予共享依据"), max_length=500, blank=True)
    means_class = models.CharField(_("共享方式分类"), max_length=10, choices=SharingMeansClass, blank=True)
    means = models.CharField(_("共享方式类型"), max_length=10, choices=SharingMeans, blank=True)
    is_open = models.BooleanField(_("是否向社会开放"), default=False)
    open_condition = models.CharField(_("开放条件"), max_length=500, blank=True)
    update_cycle = models.CharField(_("更新周期"), max_length=12, choices=UpdateCycle)
    released_on = models.DateField(_("发布日期"), null=True, blank=True)
    related_codes = models.CharField(_("关联资源代码"), max_length=1000, blank=True)

    data_class = models.CharField(_("数据分类"), max_length=100, blank=True)
    data_level = models.CharField(_("数据分级"), max_length=1, choices=DataLevel, blank=True)

    secrecy_risk_assessed = models.BooleanField(_("已作保密风险评估"), default=False)
    secrecy_risk_conclusion = models.TextField(_("保密风险评估结论"), blank=True)
    personal_information = models.CharField(_("个人信息"), max_length=10, choices=PersonalInformation, blank=True)
    personal_information_assessed = models.BooleanField(_("已作个人信息保护影响评估"), default=False)
    personal_information_conclusion = models.TextField(_("个人信息保护影响评估结论"), blank=True)

    # the six survey volumes of 信息资源大普查 (GB; 10,000 records); empty = not stated
    volume_gb = models.DecimalField(_("数据存储总量（G）"), max_digits=14, decimal_places=3, null=True, blank=True)
    records_10k = models.DecimalField(
        _("结构化信息记录总数（万）"), max_digits=14, decimal_places=4, null=True, blank=True
    )
    shared_volume_gb = models.DecimalField(
        _("已共享的数据存储量（G）"), max_digits=14, decimal_places=3, null=True, blank=True
    )
    shared_records_10k = models.DecimalField(
        _("已共享结构化记录数（万）"), max_digits=14, decimal_places=4, null=True, blank=True
    )
    open_volume_gb = models.DecimalField(
        _("已开放的数据存储量（G）"), max_digits=14, decimal_places=3, null=True, blank=True
    )
    open_records_10k = models.DecimalField(
        _("已开放结构化记录数（万）"), max_digits=14, decimal_places=4, null=True, blank=True
    )

    compiled_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("编制岗位"))
    changed_at = models.DateTimeField(_("修改时间"))
    submitted_at = models.DateTimeField(_("提交时间"), null=True, blank=True)
    published_at = models.DateTimeField(_("发布时间"), null=True, blank=True)
    return_reason = models.TextField(_("退回原因"), blank=True)

    class Meta:
        verbose_name = _("目录版本")
        verbose_name_plural = _("目录版本")
        ordering = ["entry_id", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["entry", "number"], name="version_number_once_per_entry"),
            models.UniqueConstraint(
                fields=["entry"],
                condition=Q(state__in=["draft", "department_review", "head_signature", "authority_review", "returned"]),
                name="version_one_in_work_per_entry",
            ),
            models.UniqueConstraint(
                fields=["entry"], condition=Q(state="published"), name="version_one_published_per_entry"
            ),
        ]
        indexes = [models.Index(fields=["state", "changed_at"], name="version_state_changed")]

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"


class DataItem(models.Model):
    """A column of the resource as described (信息项)."""

    version = models.ForeignKey(EntryVersion, models.CASCADE, related_name="items", verbose_name=_("版本"))
    position = models.PositiveIntegerField(_("次序"))
    name = models.CharField(_("信息项名称"), max_length=128)
    code = models.CharField(_("英文标识"), max_length=64, help_text=_("目标表列名和接口字段名"))
    data_type = models.CharField(_("数据类型"), max_length=4, choices=ItemType)
    length = models.PositiveIntegerField(_("数据长度"), null=True, blank=True)
    scale = models.PositiveSmallIntegerField(_("小数位"), null=True, blank=True)
    is_key = models.BooleanField(_("是主键"), default=False)
    is_required = models.BooleanField(_("不可为空"), default=False)
    personal_information = models.CharField(
        _("个人信息"), max_length=10, choices=PersonalInformation, default=PersonalInformation.NONE
    )
    code_table = models.CharField(_("代码表"), max_length=60, blank=True)
    description = models.CharField(_("说明"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("信息项")
        verbose_name_plural = _("信息项")
        ordering = ["version_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="item_name_once_per_version"),
            models.UniqueConstraint(fields=["version", "code"], name="item_code_once_per_version"),
            models.UniqueConstraint(fields=["version", "position"], name="item_position_once_per_version"),
            models.CheckConstraint(
                condition=Q(scale__isnull=True) | Q(length__gte=F("scale")), name="item_scale_within_length"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ImportBatch(models.Model):
    """One workbook handed in: what came of it, row by row. The file itself is a workflow attachment."""

    organisation = models.ForeignKey(
        Organisation, models.PROTECT, related_name="import_batches", verbose_name=_("机构")
    )
    imported_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("导入岗位"))
    imported_at = models.DateTimeField(_("导入时间"))
    file_name = models.CharField(_("文件名"), max_length=200)
    digest = models.CharField(_("摘要"), max_length=64)
    rows_read = models.PositiveIntegerField(_("读入行数"), default=0)
    entries_created = models.PositiveIntegerField(_("新建条目"), default=0)
    entries_updated = models.PositiveIntegerField(_("更新条目"), default=0)
    entries_unchanged = models.PositiveIntegerField(_("未变条目"), default=0)
    entries_refused = models.PositiveIntegerField(_("未收条目"), default=0)
    error_count = models.PositiveIntegerField(_("错误数"), default=0)
    errors = models.JSONField(
        _("错误"), default=list
    )  # [{"row", "column", "cell", "code", "message", "clause", "mend", "details"}], first 2,000

    class Meta:
        verbose_name = _("导入批次")
        verbose_name_plural = _("导入批次")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.file_name

"""Value lists of the catalogue: 政务信息资源目录编制指南 and 政务数据共享条例 (standards.md §1)."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class VersionState(models.TextChoices):
    DRAFT = "draft", _("草稿")
    DEPARTMENT_REVIEW = "department_review", _("待部门审核")
    HEAD_SIGNATURE = "head_signature", _("待第一责任人签发")
    AUTHORITY_REVIEW = "authority_review", _("待主管部门审核")
    PUBLISHED = "published", _("已发布")
    RETURNED = "returned", _("退回修改")
    SUPERSEDED = "superseded", _("已被新版替代")
    WITHDRAWN = "withdrawn", pgettext_lazy("catalogue", "已撤销")


VERSION_MOVES: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DRAFT: frozenset({VersionState.DEPARTMENT_REVIEW, VersionState.WITHDRAWN}),
    VersionState.DEPARTMENT_REVIEW: frozenset({VersionState.HEAD_SIGNATURE, VersionState.RETURNED}),
    VersionState.HEAD_SIGNATURE: frozenset({VersionState.AUTHORITY_REVIEW, VersionState.RETURNED}),
    VersionState.AUTHORITY_REVIEW: frozenset({VersionState.PUBLISHED, VersionState.RETURNED}),
    VersionState.RETURNED: frozenset({VersionState.DRAFT, VersionState.DEPARTMENT_REVIEW, VersionState.WITHDRAWN}),
    VersionState.PUBLISHED: frozenset({VersionState.SUPERSEDED, VersionState.WITHDRAWN}),
    VersionState.SUPERSEDED: frozenset(),
    VersionState.WITHDRAWN: frozenset(),
}


class SharingCategory(models.TextChoices):
    UNCONDITIONAL = "1", _("无条件共享")
    CONDITIONAL = "2", _("有条件共享")
    NOT_SHARED = "3", _("不予共享")


class FormatClass(models.TextChoices):
    DOCUMENT = "1", _("电子文件")
    SPREADSHEET = "2", _("电子表格")
    DATABASE = "3", _("数据库")
    IMAGE = "4", _("图形图像")
    STREAM = "5", _("流媒体")
    SELF_DESCRIBING = "6", _("自描述格式")
    SERVICE = "7", _("服务接口")


class SharingMeansClass(models.TextChoices):
    PLATFORM = "platform", _("共享平台方式")
    OTHER = "other", _("邮件或介质")


class SharingMeans(models.TextChoices):
    DATABASE = "database", _("数据库")
    FILE = "file", _("文件")
    INTERFACE = "interface", _("接口")
    MAIL = "mail", _("邮件")
    MEDIUM = "medium", _("介质交换")


class UpdateCycle(models.TextChoices):
    REALTIME = "realtime", _("实时")
    DAILY = "daily", _("每日")
    WEEKLY = "weekly", _("每周")
    MONTHLY = "monthly", _("每月")
    QUARTERLY = "quarterly", _("每季度")
    HALF_YEARLY = "half_yearly", _("每半年")
    YEARLY = "yearly", _("每年")
    OTHER = "other", _("其他")


class ItemType(models.TextChoices):
    CHARACTER = "C", _("字符型")
    NUMERIC = "N", _("数值型")
    CURRENCY = "Y", _("货币型")
    DATE = "D", _("日期型")
    DATETIME = "T", _("日期时间型")
    LOGICAL = "L", _("逻辑型")
    MEMO = "M", _("备注型")
    GENERAL = "G", _("通用型")
    DOUBLE = "B", _("双精度型")
    INTEGER = "I", _("整型")
    FLOAT = "F", _("浮点型")
    BLOB = "blob", _("二进制")
    TEXT = "text", _("长文本")


class DataLevel(models.TextChoices):
    """Grading of data (数据分级); 涉密 is not a level here: it never enters."""

    L1 = "1", _("一级（可公开）")
    L2 = "2", _("二级（内部）")
    L3 = "3", _("三级（敏感）")
    L4 = "4", _("四级（高敏感）")


class PersonalInformation(models.TextChoices):
    NONE = "none", _("不含个人信息")
    ORDINARY = "ordinary", _("个人信息")
    SENSITIVE = "sensitive", _("敏感个人信息")

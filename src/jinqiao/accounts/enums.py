"""Roles and kinds of organisations (design: look.md §2, standards.md §4.7)."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RegionLevel(models.TextChoices):
    PROVINCE = "province", _("省")
    CITY = "city", _("市")
    COUNTY = "county", _("县区")
    TOWNSHIP = "township", _("乡镇街道")


class OrganisationKind(models.TextChoices):
    GOVERNMENT = "government", _("人民政府")
    DEPARTMENT = "department", _("政府部门")
    SUBORDINATE = "subordinate", _("直属单位")
    PARTY = "party", _("党委部门")
    OTHER = "other", _("其他单位")


class Role(models.TextChoices):
    OPERATOR = "operator", _("部门操作员")
    DEPARTMENT_ADMINISTRATOR = "department_administrator", _("部门管理员")
    HEAD = "head", _("第一责任人")
    BUREAU = "bureau", _("业务运营员")
    LEADER = "leader", _("分管领导")
    APPROVER = "approver", _("联审人员")
    AUDITOR = "auditor", _("审计人员")
    DEVELOPER = "developer", _("应用开发方")
    COUNTY_CLERK = "county_clerk", _("县级操作员")
    COUNTER = "counter", _("窗口人员")
    SYSTEM_ADMINISTRATOR = "system_administrator", _("系统管理员")
    SECURITY_ADMINISTRATOR = "security_administrator", _("安全管理员")
    AUDIT_ADMINISTRATOR = "audit_administrator", _("审计管理员")


THREE_ADMINISTRATORS: frozenset[Role] = frozenset(
    {Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.AUDIT_ADMINISTRATOR}
)
"""三员: nobody holds two of them, and who holds one holds no business role."""


class ApplicationState(models.TextChoices):
    ACTIVE = "active", _("使用中")
    SUSPENDED = "suspended", _("已暂停")
    RETIRED = "retired", _("已停用")

"""Regions, organisations, sections, people, posts and applications."""

from datetime import date

from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.enums import ApplicationState, OrganisationKind, RegionLevel, Role
from jinqiao.accounts.managers import PersonManager
from jinqiao.audit.trail import Actor


class Region(models.Model):
    """An administrative division, by its GB/T 2260 code (6 digits; 9 or 12 below the county)."""

    code = models.CharField(_("区划代码"), max_length=12, unique=True)
    name = models.CharField(_("名称"), max_length=100)
    level = models.CharField(_("层级"), max_length=12, choices=RegionLevel)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children", verbose_name=_("上级")
    )

    class Meta:
        verbose_name = _("行政区划")
        verbose_name_plural = _("行政区划")
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Organisation(models.Model):
    """A government body. Its unified social credit code (GB 32100) is its identity between platforms."""

    credit_code = models.CharField(_("统一社会信用代码"), max_length=18, unique=True)
    name = models.CharField(_("全称"), max_length=200)
    short_name = models.CharField(_("简称"), max_length=60)
    kind = models.CharField(_("类别"), max_length=12, choices=OrganisationKind)
    region = models.ForeignKey(Region, models.PROTECT, related_name="organisations", verbose_name=_("所在区划"))
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children", verbose_name=_("上级机构")
    )
    is_authority = models.BooleanField(_("是政务数据共享主管部门"), default=False)
    is_active = models.BooleanField(_("在用"), default=True)
    position = models.PositiveIntegerField(_("次序"), default=0)

    class Meta:
        verbose_name = _("机构")
        verbose_name_plural = _("机构")
        ordering = ["position", "credit_code"]

    def __str__(self) -> str:
        return self.short_name


class Section(models.Model):
    """An inner section (科室) of an organisation."""

    organisation = models.ForeignKey(Organisation, models.CASCADE, related_name="sections", verbose_name=_("机构"))
    name = models.CharField(_("名称"), max_length=100)

    class Meta:
        verbose_name = _("科室")
        verbose_name_plural = _("科室")
        ordering = ["organisation_id", "name"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="section_name_once_per_organisation")
        ]

    def __str__(self) -> str:
        return self.name


class Person(AbstractBaseUser):
    """Somebody who signs in. What they may do follows from the post they act in, never from the person."""

    username = models.CharField(_("登录名"), max_length=60, unique=True)
    name = models.CharField(_("姓名"), max_length=60)
    mobile = models.CharField(_("手机"), max_length=20, blank=True)
    is_active = models.BooleanField(_("在用"), default=True)
    must_change_password = models.BooleanField(_("须改密码"), default=True)
    password_changed_at = models.DateTimeField(_("密码修改时间"), null=True, blank=True)
    employer = models.CharField(_("外包单位"), max_length=200, blank=True)
    valid_until = models.DateField(_("有效期至"), null=True, blank=True)
    language = models.CharField(_("语言"), max_length=10, default="zh-hans")

    objects = PersonManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS = ["name"]

    class Meta:
        verbose_name = _("人员")
        verbose_name_plural = _("人员")
        ordering = ["username"]
        constraints = [
            # a contractor's account is time-limited: 政务数据共享条例 第三十六条
            models.CheckConstraint(
                condition=Q(employer="") | Q(valid_until__isnull=False), name="person_contractor_has_end_date"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def may_sign_in_on(self, day: date) -> bool:
        """Active, and where the account has an end date, not past it."""
        return self.is_active and (self.valid_until is None or self.valid_until >= day)


class Post(models.Model):
    """A person in a role at an organisation: what rules and actions take as the acting party."""

    person = models.ForeignKey(Person, models.PROTECT, related_name="posts", verbose_name=_("人员"))
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="posts", verbose_name=_("机构"))
    section = models.ForeignKey(
        Section, models.PROTECT, null=True, blank=True, related_name="posts", verbose_name=_("科室")
    )
    role = models.CharField(_("角色"), max_length=30, choices=Role)
    starts_on = models.DateField(_("任职起"))
    ends_on = models.DateField(_("任职止"), null=True, blank=True)

    class Meta:
        verbose_name = _("岗位")
        verbose_name_plural = _("岗位")
        ordering = ["person_id", "organisation_id", "role"]
        constraints = [
            models.UniqueConstraint(
                fields=["person", "organisation", "role"], name="post_once_per_person_organisation_role"
            ),
            models.CheckConstraint(
                condition=Q(ends_on__isnull=True) | Q(ends_on__gte=F("starts_on")), name="post_ends_after_it_starts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person.name} · {self.organisation.short_name} · {self.get_role_display()}"

    @property
    def actor(self) -> Actor:
        """The acting party as the trail keeps it: values, which outlive the post."""
        return Actor(
            id=str(self.person_id),
            name=self.person.name,
            role=self.role,
            organisation_id=str(self.organisation_id),
            organisation_name=self.organisation.name,
        )

    def is_live_on(self, day: date) -> bool:
        """Whether the post is held on `day`. From the day it ends on it is no longer held."""
        return self.starts_on <= day and (self.ends_on is None or self.ends_on > day)


class Application(models.Model):
    """An API client of an organisation: what calls query services."""

    number = models.CharField(_("应用标识"), max_length=40, unique=True)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="applications", verbose_name=_("机构"))
    name = models.CharField(_("名称"), max_length=100)
    contact = models.ForeignKey(Person, models.PROTECT, related_name="applications", verbose_name=_("联系人"))
    state = models.CharField(_("状态"), max_length=12, choices=ApplicationState, default=ApplicationState.ACTIVE)
    addresses = models.JSONField(_("允许的来源网段"), default=list, blank=True)  # CIDR; empty = from anywhere
    certificates = models.JSONField(_("客户端证书指纹"), default=list, blank=True)  # SHA-256, hex; empty = none needed
    national_id = models.CharField(_("国家平台请求方标识"), max_length=64, blank=True)  # rid, where one was issued
    created_at = models.DateTimeField(_("登记时间"))

    class Meta:
        verbose_name = _("应用")
        verbose_name_plural = _("应用")
        ordering = ["number"]

    def __str__(self) -> str:
        return self.name

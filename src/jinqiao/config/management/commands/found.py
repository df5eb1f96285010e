"""`jinqiao manage found …`: the first body and the first people of a platform that is not a demo.

    jinqiao manage found --region 620300 金昌市 --level city --organisation <credit code> <full name> <short name>

Makes the region, the authority (政务数据共享主管部门), its three separated administrators and one bureau post, each with a password that is
printed once and must be changed at the first sign-in. Refuses where organisations stand already.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from jinqiao.accounts import actions
from jinqiao.accounts.enums import OrganisationKind, RegionLevel, Role
from jinqiao.accounts.models import Organisation
from jinqiao.kernel.errors import JinqiaoError

FIRST_PEOPLE = (
    ("system", "系统管理员", Role.SYSTEM_ADMINISTRATOR),
    ("security", "安全管理员", Role.SECURITY_ADMINISTRATOR),
    ("audit", "审计管理员", Role.AUDIT_ADMINISTRATOR),
    ("bureau", "业务运营员", Role.BUREAU),
)


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--region", nargs=2, metavar=("CODE", "NAME"), required=True)
        parser.add_argument("--level", choices=RegionLevel.values, default=RegionLevel.CITY.value)
        parser.add_argument("--organisation", nargs=3, metavar=("CREDIT_CODE", "NAME", "SHORT_NAME"), required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if Organisation.objects.exists():
            raise CommandError("平台里已有机构，请在“组织与人员”中办理 organisations stand already; use the pages")
        try:
            with transaction.atomic():
                lines = self._found(options["region"], options["level"], options["organisation"])
        except JinqiaoError as problem:
            text = problem.text("zh")
            raise CommandError(f"{problem.code}: {text.message}{text.mend} {problem.text('en').message}") from problem
        for line in lines:
            self.stdout.write(line)

    def _found(self, region: list[str], level: str, organisation: list[str]) -> list[str]:
        place = actions.add_region(by=None, code=region[0], name=region[1], level=level)
        authority = actions.add_organisation(
            by=None,
            credit_code=organisation[0],
            name=organisation[1],
            short_name=organisation[2],
            kind=OrganisationKind.DEPARTMENT,
            region=place,
            is_authority=True,
        )
        lines = ["登录名 name / 口令 password（首次登录须修改 to be changed at the first sign-in）"]
        for username, name, role in FIRST_PEOPLE:
            person = actions.add_person(by=None, username=username, name=name)
            actions.appoint(by=None, person=person, organisation=authority, role=role)
            lines.append(f"  {username:<10}{actions.reset_password(person, by=None)}　{role.label}")
        return lines

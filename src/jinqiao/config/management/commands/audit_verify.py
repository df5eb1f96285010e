"""`jinqiao audit verify`: is the trail whole? Names the first broken event; a cut tail shows against the sealed head. Exits 0 when whole, 1 when broken."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.audit import anchor
from jinqiao.kernel.errors import JinqiaoError


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        try:
            verdict = anchor.verify()
        except JinqiaoError as problem:
            self.stdout.write(f"不完整 broken: {problem.text('zh').message} {problem.text('en').message}")
            sys.exit(1)
        if verdict.ok:
            self.stdout.write(f"完整 whole: {verdict.events} 条 events")
            return
        self.stdout.write(
            f"不完整 broken: 第一条不符的记录 first broken event #{verdict.first_broken}: {verdict.reason}"
        )
        sys.exit(1)

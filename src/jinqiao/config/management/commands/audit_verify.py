"""`jinqiao audit verify`: is the trail whole? Names the first broken event. Exits 0 when whole, 1 when broken."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.audit import trail


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        verdict = trail.verify()
        if verdict.ok:
            self.stdout.write(f"完整 whole: {verdict.events} 条 events")
            return
        self.stdout.write(
            f"不完整 broken: 第一条不符的记录 first broken event #{verdict.first_broken}: {verdict.reason}"
        )
        sys.exit(1)

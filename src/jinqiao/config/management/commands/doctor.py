"""`jinqiao doctor`: prints what is mis-set and the mend; exits 1 when something is bad."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.config.doctor import State, examine

MARKS = {State.GOOD: "✓", State.WARNING: "!", State.BAD: "✗"}


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        findings = examine()
        for finding in findings:
            self.stdout.write(f"{MARKS[finding.state]} {finding.what}  {finding.note}".rstrip())
            if finding.mend:
                self.stdout.write(f"    → {finding.mend}")
        bad = sum(finding.state is State.BAD for finding in findings)
        self.stdout.write(f"\n{len(findings)} 项，{bad} 项须处理 items, {bad} to be mended")
        if bad:
            sys.exit(1)

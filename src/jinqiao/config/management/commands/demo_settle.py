"""`jinqiao manage demo_settle`: with the platform running, the demo's nodes reach their sources and data move."""

from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.demo.build import settle


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        settle(self.stdout.write)

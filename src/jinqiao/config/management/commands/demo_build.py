"""`jinqiao demo build`: the demo city into this home's database, where none stands yet."""

from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.demo.build import build


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        build(self.stdout.write)

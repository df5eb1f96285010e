"""`jinqiao audit seal --anew`: gives up the sealed head of the trail and seals the present one.

For after a restore from a backup, once the loss is explained; the trail records that it was done.
"""

from typing import Any

from django.core.management.base import BaseCommand

from jinqiao.audit import anchor


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        head = anchor.seal_head(anew=True)
        self.stdout.write(f"已重新封存 sealed: #{head.number if head else 0}")

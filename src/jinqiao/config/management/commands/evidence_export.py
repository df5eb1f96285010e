"""`jinqiao evidence export GATEWAY --out PACK`: the evidence of a gateway as a pack, signed by the platform."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jinqiao.exchange import actions
from jinqiao.exchange.models import Node
from jinqiao.kernel.errors import JinqiaoError


class Command(BaseCommand):
    help = "导出一个网关的调用存证包 write the evidence of a gateway's calls as a pack"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateway", help="网关标识 number of the gateway")
        parser.add_argument("--out", type=Path, required=True, metavar="PACK")

    def handle(self, *arguments: Any, **options: Any) -> None:
        gateway = Node.objects.filter(number=options["gateway"]).first()
        if gateway is None:
            raise CommandError(f"没有这个网关 no such gateway: {options['gateway']}")
        try:
            manifest = actions.export_evidence(gateway, options["out"])
        except JinqiaoError as problem:
            raise CommandError(str(problem)) from problem
        batches = sum(lane.last_batch - lane.first_batch + 1 for lane in manifest.lanes)
        self.stdout.write(f"{options['out']}: {batches} batches, {len(manifest.lanes)} lanes")

"""`jinqiao manage bundle …`: carry words and chunks to and from nodes that no network joins with the platform."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jinqiao.exchange import actions
from jinqiao.exchange.actions.bundles import node_by_number
from jinqiao.kernel.contracts.exchange import NodeRegistration
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.keystore import write_durably


class Command(BaseCommand):
    """Pack for a node, take what a node packed, answer the registration of a node without a network."""

    help = "摆渡包：导出、导入、离线登记 bundles for nodes without a network: export, import, register"

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        exporting = verbs.add_parser("export", help="为节点打包 pack what waits for a node")
        exporting.add_argument("node", metavar="NODE")
        exporting.add_argument("--to", type=Path, required=True, metavar="FOLDER|FILE")
        importing = verbs.add_parser("import", help="导入节点的包 take what a node packed")
        importing.add_argument("file", type=Path, metavar="FILE")
        registering = verbs.add_parser("register", help="登记隔离网的节点 register a node by its file")
        registering.add_argument("file", type=Path, metavar="FILE")
        registering.add_argument("--to", type=Path, required=True, metavar="FILE")

    def handle(self, *arguments: Any, **options: Any) -> None:
        try:
            {"export": self._export, "import": self._import, "register": self._register}[options["verb"]](options)
        except JinqiaoError as error:
            lines = (error.text("zh"), error.text("en"))
            raise CommandError("\n".join(f"{text.message} [{error.code}] {text.mend}" for text in lines)) from error

    def _export(self, options: dict[str, Any]) -> None:
        self.stdout.write(str(actions.export_bundle(node_by_number(options["node"]), options["to"])))

    def _import(self, options: dict[str, Any]) -> None:
        taken = actions.import_bundle(options["file"])
        if not taken.is_new:
            self.stdout.write(
                f"{taken.node}：第 {taken.sequence} 号包此前已导入 bundle {taken.sequence} was taken before"
            )
            return
        self.stdout.write(
            f"{taken.node}：第 {taken.sequence} 号包，结果 {taken.results}，数据块 {taken.chunks}"
            f"  bundle {taken.sequence}: {taken.results} results, {taken.chunks} chunks"
        )
        if taken.skipped:
            numbers = ", ".join(map(str, taken.skipped))
            self.stdout.write(
                f"未收到第 {numbers} 号包，内容已含在本包  bundles {numbers} never came; this one repeats them"
            )
        for part, code in taken.refused:
            self.stdout.write(f"未取用 not taken: {part} {code}")

    def _register(self, options: dict[str, Any]) -> None:
        try:
            registration = NodeRegistration.from_json(json.loads(options["file"].read_bytes()))
        except (OSError, ValueError) as problem:
            raise CommandError(f"{options['file'].name}: {type(problem).__name__}") from problem
        admission = actions.register_node(registration)
        write_durably(options["to"], json.dumps(admission.to_json(), ensure_ascii=False, indent=1).encode(), 0o644)
        self.stdout.write(f"{admission.node_id} 待核准 awaits approval")

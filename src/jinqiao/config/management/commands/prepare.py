"""`jinqiao manage prepare`: brings a home up to date before the platform starts: database, static files, the demo city."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from jinqiao.config import messages
from jinqiao.kernel.keystore import KeyStore


def static_files() -> dict[str, Path]:
    """All files that pages are served, those of the apps as well as those named in the settings, by their public names."""
    found: dict[str, Path] = {}
    for finder in get_finders():
        for name, storage in finder.list([]):
            prefix = getattr(storage, "prefix", None)
            found.setdefault(f"{prefix}/{name}" if prefix else name, Path(storage.path(name)))
    return found


def fingerprint(files: Mapping[str, Path]) -> str:
    """Of names, sizes and times: cheap, and changes whenever one of the files does."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        state = file.stat()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        settings.HOME.mkdir(parents=True, exist_ok=True)
        settings.HOME.chmod(0o700)  # whoever made it: nobody else may enter
        KeyStore(settings.HOME / "keys").identity("platform", settings.CRYPTO_SUITE)
        messages.compile_catalogue(settings.LOCALE_PATHS[0])
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("更新数据库结构 Updating the database…")
            call_command("migrate", verbosity=0, interactive=False)
        self._collect_static()
        if options["demo"]:
            from jinqiao.demo.build import build

            build(self.stdout.write)

    def _collect_static(self) -> None:
        stamp = settings.STATIC_ROOT / ".stamp"
        wanted = fingerprint(static_files())
        if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
            return
        self.stdout.write("整理页面资源 Collecting page assets…")
        call_command("collectstatic", verbosity=0, interactive=False, clear=settings.STATIC_ROOT.exists())
        stamp.write_text(wanted, encoding="ascii")

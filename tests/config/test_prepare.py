"""What `jinqiao manage prepare` does before the platform starts."""

import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from jinqiao.config.management.commands.prepare import fingerprint, static_files


def test_pages_are_served_anew_when_any_of_their_files_has_changed(tmp_path: Path) -> None:
    files = static_files()
    assert files["web/components.css"].is_file()  # of an app
    assert files["vendor/htmx/htmx.min.js"].is_file()  # of the assets

    style = tmp_path / "style.css"
    style.write_text("a", encoding="ascii")
    before = fingerprint(files | {"web/style.css": style})
    assert fingerprint(files | {"web/style.css": style}) == before
    os.utime(style, ns=(1, 1))
    assert fingerprint(files | {"web/style.css": style}) != before


@pytest.mark.django_db
def test_a_home_is_closed_to_others_whoever_made_it(tmp_path: Path, settings: Any) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    settings.HOME, settings.STATIC_ROOT = home, home / "static"

    call_command("prepare", stdout=StringIO())

    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "keys" / "master.key").stat().st_mode & 0o777 == 0o600
    assert (home / "static" / "web").is_dir()

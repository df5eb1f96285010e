"""What `jinqiao manage prepare` does before the platform starts."""

import os
from pathlib import Path

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

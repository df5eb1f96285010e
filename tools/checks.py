"""Writes docs/checks.md from the catalogues of checks and transforms and the code tables. `--check` only says whether it is up to date."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinqiao.kernel.catalogues import check_catalogue, transform_catalogue
from jinqiao.kernel.code_tables import code_tables

TARGET = Path(__file__).resolve().parent.parent / "docs" / "checks.md"

HEAD = """# Checks and transforms

What a run of an exchange does with every row at the provider's node, in this order: **transform** (make the items from columns
of the source), **check**, **mask**, stage. Written by `tools/checks.py` from `src/jinqiao/kernel/texts/checks.toml`,
`transforms.toml` and `src/jinqiao/kernel/codes/tables.toml`; versions rise when the same values would be judged otherwise.

## Rules

A rule (`CheckRule`) binds a check to one item. Parameters are judged before a row is read; a check, a version or a parameter
that the node does not know refuses the order.

- `severity`: `warn` counts the row and hands it over; `quarantine` (usual) sets it aside; `stop` sets it aside and ends the run
  before anything is handed over, after all rows were checked, so that the whole quarantine can be corrected at once.
- `stop_rows`, `stop_share`: above so many rows, or such a share of the rows read, the run ends likewise, whatever the
  severity; with `stop` they are the limit in the place of the first row. Besides, the order's `quarantine_limit` holds for all
  rules together.
- `version`: of the check as it was when the rule was written; 0 takes the one that the node knows.

Findings are counts by check, version, item and severity with the numbers of at most ten rows, never values. Rows are numbered
from 1 as they were read: split after split, within a split in its order.

`unique` remembers ten bytes for each value (ten million values: about 100 MiB; beyond 16 million they lie in an unlinked
temporary file). Two different values are taken for one in fewer than one of ten million runs of ten million rows;
whole numbers, dates and times of a single item never are. A run with `unique` that is killed begins anew. `reference` reads the
other table right before the rows, outside of their snapshot: a key that is added in between is found in the next run.

## Quarantine

Rows set aside are sealed to the provider's node, 100,000 of a run at most; more are counted. For its people they are a workbook
(20,000 rows): number of the row, what it broke, and the values of the items before masks, every cell a text. Corrected and
handed in, the rows are checked again; cells that still break a check are named, and then nothing is taken and nothing lost.
Right in all rows, they make a run of their own that inserts and updates and deletes nothing. Rows deleted from the workbook stay
in quarantine.

## Checks
"""

TRANSFORMS = """
## Transforms

A transform (`Transform`) makes one item. Without one an item is its bound column. What an operation cannot make is refused: the
row goes into quarantine with the check `transform`; what was made and does not fit the item's type, with `type`. All is exact:
nothing is rounded, cut off or guessed unless a parameter says so. `derive` names its operation by the parameter `operation`.

Tokens are HMAC-SHA-256 or HMAC-SM3, by the suite, under a key derived (HKDF) from a secret of the provider's node and the
consumer (`scope` consumer) or the grant (`scope` grant) as the grant names them: the secret never leaves the node, tokens of two
consumers cannot be joined, and the same value has the same token in every run.
"""

CODES = """
## Code tables

For `codes` (from one column to another) and `code_list`. Divisions (GB/T 2260) are computed: `code` is every code that was ever
given, `current` the code in use today, of which a withdrawn code has that of its successor.

| table | 名称 | columns | rows |
|---|---|---|---|
"""


def _rows(name: str, entry: Mapping[str, Any]) -> str:
    parameters = []
    for parameter, described in entry.get("parameters", {}).items():
        needed = " (needed)" if parameter in entry.get("needs", ()) else ""
        needed = " (one of)" if parameter in entry.get("one_of", ()) else needed
        choices = ": " + " · ".join(described["choices"]) if "choices" in described else ""
        parameters.append(
            f"`{parameter}`{needed} {described['type']}{choices}, {described['title']} / {described['title_en']}"
        )
    return "<br>".join(parameters) or ("always checked" if entry.get("implicit") else "")


def page() -> str:
    lines = [HEAD, "| check | 名称 | what breaks it | parameters |", "|---|---|---|---|"]
    for name, entry in check_catalogue().items():
        lines.append(
            f"| `{name}`@{entry['version']} | {entry['title']} | {entry['note']}<br>{entry['note_en']} | {_rows(name, entry)} |"
        )
    lines += [TRANSFORMS, "| transform | 名称 | what it makes | items of type | parameters |", "|---|---|---|---|---|"]
    for name, entry in transform_catalogue().items():
        lines.append(
            f"| `{name}`@{entry['version']} | {entry['title']} | {entry['note']}<br>{entry['note_en']} |"
            f" {' '.join(entry['makes'])} | {_rows(name, entry)} |"
        )
    tables = [
        f"| {name} | {table.title} / {table.title_en} | {' '.join(f'`{column}`' for column in table.columns)} | {len(table.rows) or 'computed'} |"
        for name, table in sorted(code_tables().items())
    ]
    return "\n".join(lines) + "\n" + CODES + "\n".join(tables) + "\n"


def main() -> int:
    if "--check" in sys.argv:
        return 0 if TARGET.read_text(encoding="utf-8") == page() else 1
    TARGET.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

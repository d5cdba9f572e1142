"""docs/architecture.md names every package and module of the library, and no other."""

from __future__ import annotations

import re

from perigee.paths import ROOT, WORKFLOW

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_map_has_every_room() -> None:
    table = PAGE.partition("| room |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [room for cell in cells for room in re.findall(r"`(\w+)`", cell)]
    library = WORKFLOW / "perigee"
    rooms = {path.parent.name for path in library.glob("*/__init__.py")}
    rooms |= {path.stem for path in library.glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(rooms)


def test_every_path_that_it_names_is_there() -> None:
    """The text before a placeholder for a name."""
    paths = re.findall(r"`((?:workflow|config|tests|perigee)/[\w/.]*)", PAGE)
    assert len(paths) > 10
    missing = [p for p in paths if not any((root / p).exists() for root in (ROOT, WORKFLOW))]
    assert missing == []

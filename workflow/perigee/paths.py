"""Where the parts of this checkout stand."""

from __future__ import annotations

from pathlib import Path

WORKFLOW = Path(__file__).parents[1]
ROOT = WORKFLOW.parent
SCRIPTS = WORKFLOW / "scripts"
NOTEBOOKS = WORKFLOW / "notebooks"
CAPTIONS = WORKFLOW / "report"
EQUIVALENCES = WORKFLOW / "equivalences.json"
STUDIES = ROOT / "config" / "studies"
SCHEMAS = ROOT / "config" / "schemas"


def shown(path: Path) -> str:
    """A path of this checkout as a user names it, from the root."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)

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

FIGURE_FILES = ("figure.pdf", "figure.png", "figure.csv", "figure.ipynb")
"""The files of every figure in the store."""

STUDY = "study"
"""What the keys of figures of one's own begin with, and the notebook and caption they share."""


def template(key: str) -> str:
    """Name of the notebook and the caption that a figure is made with, without its suffix.

    Args:
        key: <paper>_<figure>, or study_<name>.
    """
    return STUDY if key.startswith(f"{STUDY}_") else key


def shown(path: Path) -> str:
    """A path of this checkout as a user names it, from the root."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)

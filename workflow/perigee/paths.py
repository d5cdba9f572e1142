"""The places of what Perigee carries, and of the user's project."""

from __future__ import annotations

from pathlib import Path

WORKFLOW = Path(__file__).parents[1]
ROOT = WORKFLOW.parent
CARRIED = ROOT
"""The folder whose ``config/`` has the papers, scales and schemas that come with Perigee."""

SCRIPTS = WORKFLOW / "scripts"
NOTEBOOKS = WORKFLOW / "notebooks"
CAPTIONS = WORKFLOW / "report"
EQUIVALENCES = WORKFLOW / "equivalences.json"
SCHEMAS = CARRIED / "config" / "schemas"

FIGURE_FILES = ("figure.pdf", "figure.png", "figure.csv", "figure.ipynb")
"""Of every figure in the store."""

STUDY = "study"
"""What the keys of figures of one's own begin with, and the notebook and caption they share."""


def project() -> Path:
    """The user's project: the present folder if it has a configuration, otherwise `CARRIED`."""
    here = Path.cwd()
    return here if (here / "config" / "config.yaml").is_file() else CARRIED


def config_folders() -> list[Path]:
    """The folders with configuration: the project's, whose files hide carried ones, and that."""
    return list(dict.fromkeys(root / "config" for root in (project(), CARRIED)))


def template(key: str) -> str:
    """Name of the notebook and the caption that a figure is made with, without its suffix.

    Args:
        key: <paper>_<figure>, or study_<name>.
    """
    return STUDY if key.startswith(f"{STUDY}_") else key


def shown(path: Path) -> str:
    """A path as a user names it: from the project's folder, or from the carried one."""
    for root in (Path.cwd(), project(), CARRIED):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path)

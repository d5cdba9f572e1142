"""The places of the files that Perigee carries, and of the user's project."""

from __future__ import annotations

from pathlib import Path

from perigee.errors import PerigeeError

PACKAGE = Path(__file__).parent
IN_THE_WHEEL = PACKAGE / "_carried"
IS_INSTALLED = IN_THE_WHEEL.is_dir()
CARRIED = IN_THE_WHEEL if IS_INSTALLED else PACKAGE.parents[1]
"""The tree of Snakefile, rules, notebooks, configuration and profiles: the checkout's root, or the
copy of it that a wheel brings."""

SNAKEFILE = str(CARRIED / "Snakefile")
"""The Snakefile with all rules, which that of a project of one's own includes."""

ROOT = CARRIED
WORKFLOW = CARRIED / "workflow"
NOTEBOOKS = WORKFLOW / "notebooks"
CAPTIONS = WORKFLOW / "report"
PROJECT_TEMPLATE = WORKFLOW / "project"
EQUIVALENCES = WORKFLOW / "equivalences.json"
CALIBRATIONS = WORKFLOW / "calibrations.json"
SCHEMAS = CARRIED / "config" / "schemas"

CONFIGURATION = Path("config") / "config.yaml"
"""The file that makes a folder a project."""

OWN_PACKAGES: dict[str, Path] = {}
"""The packages with blocks of the user's own that were registered: name -> folder."""

FIGURE_FILES = (
    "figure.pdf",
    "figure_paper_width.pdf",
    "figure.png",
    "figure.csv",
    "figure.ipynb",
)
"""The files of every figure in the store."""

STUDY = "study"
"""The beginning of the keys of a user's own figures, and the name of their notebook and caption."""


def template(key: str) -> str:
    """Name of the notebook and the caption that a figure is made with, without its suffix.

    Args:
        key: <paper>_<figure>, or study_<name>.
    """
    return STUDY if key.startswith(f"{STUDY}_") else key


def project() -> Path:
    """The user's project: the nearest folder, from the current one upwards, that is one.

    A clone is a project, too. Where there is none it is the current folder.
    """
    here = Path.cwd()
    if (here / CONFIGURATION).is_file():
        return here
    return next((one for one in here.parents if _is_project(one)), here)


def config_folders() -> list[Path]:
    """The folders with configuration: the project's, whose files hide carried ones, and that."""
    return list(dict.fromkeys(root / "config" for root in (project(), CARRIED)))


def configuration_file() -> Path:
    """The project's config/config.yaml; in a folder without one, that of Perigee.

    Raises:
        PerigeeError: a folder above is a project, or this is a checkout with a library of its own.
    """
    here, found = Path.cwd(), project()
    library = here / "workflow" / "perigee"
    if (library / "__init__.py").is_file() and not library.samefile(PACKAGE):
        raise PerigeeError(
            f"perigee is imported from {PACKAGE.parent}, but {here} is a checkout with its own; "
            f"activate that checkout's environment or set PYTHONPATH={library.parent}."
        )
    if found != here:
        raise PerigeeError(f"{here} is not the project's folder; run it in {found}.")
    return settings_file()


def settings_file() -> Path:
    """The config/config.yaml that Python reads, in whichever folder of a project it is at work."""
    return next(path for root in (project(), CARRIED) if (path := root / CONFIGURATION).is_file())


def _is_project(folder: Path) -> bool:
    return (folder / CONFIGURATION).is_file() and (folder / "Snakefile").is_file()


def shown(path: Path) -> str:
    """A path as a user names it: from the project's folder, or from the carried one."""
    for root in (Path.cwd(), project(), CARRIED):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path)

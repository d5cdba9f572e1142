"""The version of Perigee that a project was made with, against the one that is installed."""

from __future__ import annotations

import perigee
from perigee.errors import PerigeeError


def require_version(made_with: str | None) -> None:
    """Refuse a project of another series, whose files may mean something else.

    A series is a first number, or of versions 0.x the first two.

    Args:
        made_with: key 'perigee' of config/config.yaml; None in a clone, which is of one version.

    Raises:
        PerigeeError: the installed version is of another series.
    """
    if made_with is not None and _series(made_with) != _series(perigee.__version__):
        raise PerigeeError(
            f"this project was made with Perigee {made_with}, and {perigee.__version__} is "
            f"installed; install perigee {made_with}, or read in CHANGELOG.md what "
            "changed and then change key 'perigee' in config/config.yaml."
        )


def version_warning(made_with: str | None) -> str | None:
    """A sentence on a project of another version of the same series; None if there is nothing."""
    if made_with in (None, perigee.__version__):
        return None
    return (
        f"this project was made with Perigee {made_with}, and {perigee.__version__} is installed; "
        "set key 'perigee' in config/config.yaml to that if it is meant."
    )


def _series(version: str) -> list[str]:
    first, second, _ = version.split(".")
    return [first, second] if first == "0" else [first]

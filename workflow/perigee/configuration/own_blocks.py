"""The package of the user's own blocks, which a project may have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from perigee.paths import shown
from perigee.registry import register_package

BLOCKS = "blocks"
"""The key that names the package, and its name where the key is left out."""


def register_own_blocks(file: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Register the blocks that a project brings, if it brings some.

    Args:
        file: the project's config/config.yaml, which alone names the package: jobs
            read no other.
        settings: with all that is laid over the file.

    Raises:
        PerigeeError: the package is missing or wrong, or it is named elsewhere.
    """
    given = read_yaml(file).get(BLOCKS)
    if settings is not None and settings.get(BLOCKS) != given:
        raise PerigeeError(
            f"key '{BLOCKS}' is '{settings.get(BLOCKS)}'; only {shown(file)} can name the package."
        )
    folder = file.parents[1] / str(given or BLOCKS)
    if (folder / "__init__.py").is_file():
        register_package(folder.resolve())
    elif given is not None:
        raise PerigeeError(
            f"{shown(file)}: key '{BLOCKS}' is '{given}', but there is no {given}/__init__.py; "
            "create it or remove the key."
        )

"""The settings of ``config/config.yaml`` and all that is laid over it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from perigee.configuration import models
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import known_scales, scale_of
from perigee.configuration.validation import Sources, checked
from perigee.configuration.version import require_version
from perigee.errors import PerigeeError
from perigee.paths import shown

SETTINGS = "config/config.yaml"


def layered(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Settings laid over one another, validated.

    Args:
        layers: each with the name of where it comes from; a later one wins.

    Raises:
        PerigeeError: a key or value is wrong, or another version of Perigee made the project; the
            message names where the value comes from.
    """
    settings: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in layers:
        settings |= values
        sources |= dict.fromkeys(values, source)
    file = Sources(SETTINGS, lambda key: sources.get(key.partition("[")[0].partition(".")[0]))
    found = checked(models.Settings, settings, file)
    scale_of(found.scale, known_scales(), sources["scale"])
    require_version(found.perigee)
    paths = {key: _expanded(getattr(found, key), sources[key], key) for key in ("results", "data")}
    return found.model_dump() | paths


def _expanded(path: str, source: str, key: str) -> str:
    """A path of the settings with the user's home folder and environment variables put in."""
    with suppress(RuntimeError):  # no such user
        path = str(Path(path).expanduser())
    expanded = os.path.expandvars(path)
    if "$" in expanded or expanded.startswith("~"):
        raise PerigeeError(
            f"{source}: key '{key}' is '{path}', with an environment variable or a user "
            "that there is not; set it or write the path out."
        )
    return expanded


def read_settings(
    files: Iterable[Path], source: str = "", options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of some files, and over them options, validated.

    Args:
        files: config/config.yaml, and those that are laid over it.
        source, options: what is laid over the files, and the name of where it comes from.

    Raises:
        PerigeeError: a file, a key or a value is wrong.
    """
    layers = [(shown(path), read_yaml(path)) for path in files]
    return layered([*layers, (source, options or {})])

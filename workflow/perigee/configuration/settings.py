"""The settings of ``config/config.yaml`` and all that is laid over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from perigee.configuration import models
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import known_scales, scale_of
from perigee.configuration.validation import Sources, checked
from perigee.errors import PerigeeError
from perigee.paths import shown

SETTINGS = "config/config.yaml"


def layered(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Settings laid over one another, validated.

    Args:
        layers: each with the name of where it comes from; a later one wins.

    Raises:
        PerigeeError: a key or value is wrong; the message names where it comes from.
    """
    settings: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in layers:
        settings |= values
        sources |= dict.fromkeys(values, source)
    file = Sources(SETTINGS, lambda key: sources.get(key.partition("[")[0].partition(".")[0]))
    found = checked(models.Settings, settings, file)
    scale_of(found.scale, known_scales(), sources["scale"])
    return found.model_dump()


def settings_of_workflow(files: Iterable[Path], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a call of Snakemake in the present folder.

    Args:
        files: those of --configfile.
        options: those of --config.

    Raises:
        PerigeeError: a file, a key or a value is wrong.
    """
    if not Path(SETTINGS).is_file():
        raise PerigeeError(
            f"There is no {SETTINGS} in {Path.cwd()}; run Snakemake in the checkout, or in a "
            "project's folder."
        )
    layers = [(shown(path), read_yaml(path)) for path in (Path(SETTINGS), *files)]
    return layered([*layers, ("--config", options)])


def checked_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, validated.

    Args:
        configuration: those of config/config.yaml.

    Raises:
        PerigeeError: a key or value is wrong.
    """
    return layered([(SETTINGS, configuration)])

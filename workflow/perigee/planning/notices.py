"""Warnings that Snakemake prints before any job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perigee.configuration.theorems import doubts
from perigee.configuration.version import version_warning
from perigee.planning.forecast import retraining_warning
from perigee.planning.layout import Layout
from perigee.store.checks import earlier_products


def warnings_of(layout: Layout, settings: Mapping[str, Any]) -> Iterator[str]:
    """The warnings on a project, a sentence or a few each.

    Args:
        layout: the plan's layout.
        settings: those of config/config.yaml.
    """
    about = (
        version_warning(settings.get("perigee")),
        retraining_warning(layout, settings["warn_retraining_hours"]),
        earlier_products(Path(layout.store)),
    )
    yield from filter(None, about)
    for figure in layout.plan.figures.values():
        yield from doubts(figure.request)

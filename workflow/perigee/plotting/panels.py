"""The standard panels for a user's own sweeps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from perigee.plotting.looks import MARKERS, Looks, seeds_in_words
from perigee.plotting.sheet import Sheet
from perigee.plotting.style import key_in_words
from perigee.plotting.trajectories import (
    SIMILARITY,
    STEADY,
    draw_over_epochs,
    draw_phase_diagram,
)

TICK_WIDTH = 14
"""The number of characters in a line of a setting's label."""

STATISTICS = {
    "destabilisations": "Destabilisations",
    "first_destabilisation": "First destabilisation, epoch",
    "period_epochs": "Length of a period, epochs",
}
"""Columns of `perigee.analysis.period_statistics`; each has axes of its own."""


def draw_panels(
    sheet: Sheet,
    metrics: pd.DataFrame,
    periods: pd.DataFrame,
    panels: Sequence[str],
    settings: Sequence[str],
    similarity: pd.DataFrame | None = None,
) -> None:
    """Draw the requested panels and a legend.

    Args:
        sheet: the sheet that gets them.
        metrics: a table of `perigee.analysis.run_metrics`.
        periods: a table of `perigee.analysis.period_statistics`, of the same runs.
        panels: keys of `OVER_EPOCHS`, "phase_diagram", "period_statistics", "similarity", or
            further columns of the metrics.
        settings: see `Looks.of`.
        similarity: a table of `perigee.analysis.similarity`, if that panel is requested.
    """
    looks = Looks.of(periods, settings)
    several = {"period_statistics": [*STATISTICS], "similarity": [*SIMILARITY]}
    names = [part for name in panels for part in several.get(name, [name])]
    (group,) = sheet.groups(len(names))
    for axes, name in zip(group.panels, names, strict=True):
        if name in STATISTICS:
            draw_statistic(axes, periods, name, looks)
        elif name == "phase_diagram":
            draw_phase_diagram(axes, metrics, looks)
        elif name in SIMILARITY:
            assert similarity is not None
            draw_over_epochs(axes, similarity, name, looks)
        else:
            draw_over_epochs(axes, metrics, name, looks)
    band = "band" if any(name in STEADY for name in names) else ""
    told = "" if looks.by == "seed" else seeds_in_words(periods, "first seed", band)
    group.legend(key_in_words(looks.by) + told, looks.legend(periods))


def draw_statistic(axes: Axes, periods: pd.DataFrame, statistic: str, looks: Looks) -> None:
    """Draw a point per run, and a bar at the median over the seeds.

    A run without a value is an empty point on the upper edge. In the median, a first
    destabilisation that did not happen counts as later than all others; a run without a period
    length does not count.

    Args:
        axes: the axes that get points, bars and title; settings are side by side in the order of
            the colours.
        periods: a table of `perigee.analysis.period_statistics`.
        statistic: a key of `STATISTICS`.
        looks: the looks of the runs.
    """
    width = 0.8 / len(looks.combinations)
    for place, part in looks.parts(periods):
        for position, (value, colour) in enumerate(looks.colours.items()):
            values = part.loc[part[looks.by] == value, statistic].to_numpy(dtype=float)
            middle = position + (place - (len(looks.combinations) - 1) / 2) * width
            spread = middle + width / 2 * np.linspace(-0.5, 0.5, len(values) + 2)[1:-1]
            found = np.isfinite(values)
            marker = MARKERS[place % len(MARKERS)]
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": ""}
            axes.plot(spread[found], values[found], markersize=5, **look)
            edge = axes.get_xaxis_transform()
            empty: dict[str, Any] = {"markerfacecolor": "none", "markersize": 5, "transform": edge}
            axes.plot(spread[~found], np.full(sum(~found), 0.97), **look, **empty)
            median = _median(values, statistic)
            if np.isfinite(median):
                axes.hlines(median, middle - width / 2.5, middle + width / 2.5, color=colour)
    labels = [textwrap.fill(label, TICK_WIDTH) for label in looks.labels.values()]
    axes.set(title=STATISTICS[statistic], xlabel=key_in_words(looks.by))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    highest = periods[statistic].max()
    top = 1.2 * highest if highest > 0 else 1.0
    axes.set_ylim(-0.05 * top, top)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _median(values: np.ndarray, statistic: str) -> float:
    if statistic == "first_destabilisation":
        values = np.nan_to_num(values, nan=np.inf)
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else float("nan")

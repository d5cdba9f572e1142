"""The standard panels for a user's own sweeps."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from perigee.plotting.style import (
    FAINT,
    INK,
    colours_of,
    in_words,
    key_in_words,
    labels_of,
)
from perigee.plotting.trajectories import draw_over_epochs, draw_phase_diagram

LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
"""Line styles and markers for the combinations of settings that colours do not show."""

COLUMNS = 4
"""The largest number of panels in a row."""

TICK_WIDTH = 14
"""The number of characters in a line of a setting's label."""

OVER_EPOCHS = {
    "train_loss": (1, "Train loss", "log"),
    "train_error": (100, "Train error, %", "log"),
    "test_loss": (1, "Test loss", "log"),
    "test_error": (100, "Test error, %", "log"),
    "weight_norm": (1, "SI weight norm ρ", "log"),
    "effective_learning_rate": (1, "Effective learning rate η / ρ²", "log"),
    "effective_gradient_norm": (1, "Mean effective gradient norm", "log"),
}
"""Column of the metrics -> its factor, the panel's title, and the axis scale."""

SIMILARITY = {
    "cosine_similarity": (1, "Cosine similarity with the anchor", "linear"),
    "ensemble_test_error": (100, "Test error of the ensemble, %", "log"),
}
"""The same for columns of `perigee.analysis.similarity`; each has axes of its own."""

STATISTICS = {
    "destabilisations": "Destabilisations",
    "first_destabilisation": "First destabilisation, epoch",
    "period_epochs": "Length of a period, epochs",
}
"""Columns of `perigee.analysis.period_statistics`; each has axes of its own."""


@dataclass(frozen=True)
class Looks:
    """The colours, line styles and markers that distinguish the runs of a sweep.

    Attributes:
        by: the swept key that colours show.
        colours: a colour for each of its values.
        others: the swept keys that line styles and markers show.
        combinations: the combinations of their values, in the order of `LINES` and `MARKERS`.
    """

    by: str
    colours: Mapping[Hashable, str]
    others: Sequence[str]
    combinations: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, periods: pd.DataFrame, settings: Sequence[str]) -> Looks:
        """Choose the looks for a table with a row per run.

        Args:
            periods: a table with the swept values in columns.
            settings: the swept keys except the seed, beginning with the one that colours show; if
                there are none, colours show the seed.
        """
        by, *others = settings or ["seed"]
        # Without columns pandas before 3.1 gives no tuples, where later versions give empty ones.
        rows = periods[others].itertuples(index=False, name=None) if others else [()]
        return cls(by, colours_of(periods[by].tolist()), others, list(dict.fromkeys(rows)))

    def parts(self, table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
        """Return the rows of each combination, with its position."""
        for place, combination in enumerate(self.combinations):
            part = table
            for key, value in zip(self.others, combination, strict=True):
                part = part[part[key] == value]
            yield place, part

    def legend(self) -> list[Line2D]:
        """Make a line for each colour, and for each style if there are several."""
        labels = labels_of(self.colours)
        lines = [
            Line2D([], [], color=colour, label=labels[value])
            for value, colour in self.colours.items()
        ]
        others = [labels_of(values) for values in zip(*self.combinations, strict=True)]
        for place, combination in enumerate(self.combinations if self.others else ()):
            words = (
                f"{key_in_words(key)} {words[value]}"
                for key, words, value in zip(self.others, others, combination, strict=True)
            )
            look: dict[str, Any] = {
                "linestyle": LINES[place],
                "marker": MARKERS[place],
                "markersize": 4,
            }
            lines.append(Line2D([], [], color=INK, label=", ".join(words), **look))
        return lines


def draw_panels(
    metrics: pd.DataFrame,
    periods: pd.DataFrame,
    panels: Sequence[str],
    settings: Sequence[str],
    similarity: pd.DataFrame | None = None,
) -> Figure:
    """Draw a figure with the requested panels and a legend.

    Args:
        metrics: a table of `perigee.analysis.run_metrics`.
        periods: a table of `perigee.analysis.period_statistics`, of the same runs.
        panels: keys of `OVER_EPOCHS`, "phase_diagram", "period_statistics", "similarity", or
            further columns of the metrics.
        settings: see `Looks.of`.
        similarity: a table of `perigee.analysis.similarity`, if that panel is requested.
    """
    looks = Looks.of(periods, settings)
    several = {"period_statistics": [*STATISTICS], "similarity": [*SIMILARITY]}
    places = [part for name in panels for part in several.get(name, [name])]
    columns = min(COLUMNS, len(places))
    rows = -(-len(places) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(3.3 * columns + 1.3, 3.1 * rows + 0.3), squeeze=False
    )
    for axes, name in zip(grid.flat, places, strict=False):
        if name in STATISTICS:
            draw_statistic(axes, periods, name, looks)
        elif name in SIMILARITY:
            assert similarity is not None
            draw_trajectories(axes, similarity.assign(stopped=False), name, looks)
        else:
            draw_trajectories(axes, metrics, name, looks)
    for axes in grid.flat[len(places) :]:
        axes.remove()
    figure.legend(
        handles=looks.legend(),
        title=key_in_words(looks.by),
        loc="outside right center",
        frameon=False,
    )
    return figure


def draw_trajectories(axes: Axes, metrics: pd.DataFrame, panel: str, looks: Looks) -> None:
    """Draw a quantity over epochs or the phase diagram: the first seed, and the others faintly.

    The phase diagram, whose lines cross, shows only the first seed.

    Args:
        axes: the axes that get lines and title.
        metrics: a table of `perigee.analysis.run_metrics`, or one with the columns of the panel.
        panel: a key of `OVER_EPOCHS` or `SIMILARITY`, "phase_diagram", or another column.
        looks: the looks of the runs.
    """
    if panel == "phase_diagram":
        for place, part in looks.parts(metrics):
            draw_phase_diagram(axes, part, looks.colours, looks.by, linestyle=LINES[place])
        # Labels of all the minor ticks would overlap.
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 4)))
        axes.set(
            title="Phase diagram",
            xlabel="effective learning rate η / ρ²",
            ylabel="mean effective gradient norm",
        )
        return
    known = {**OVER_EPOCHS, **SIMILARITY}
    factor, title, scale = known.get(panel, (1, in_words(panel).capitalize(), "linear"))
    scaled = metrics.assign(**{panel: factor * metrics[panel]})
    for opacity, seeds in _seeds(scaled, looks):
        for place, part in looks.parts(seeds):
            draw_over_epochs(
                axes, part, panel, looks.colours, looks.by, linestyle=LINES[place], alpha=opacity
            )
    axes.set(title=title, xlabel="epoch", yscale=scale)


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
            look: dict[str, Any] = {"color": colour, "marker": MARKERS[place], "linestyle": ""}
            axes.plot(spread[found], values[found], markersize=5, **look)
            edge = axes.get_xaxis_transform()
            empty: dict[str, Any] = {"markerfacecolor": "none", "markersize": 5, "transform": edge}
            axes.plot(spread[~found], np.full(sum(~found), 0.97), **look, **empty)
            median = _median(values, statistic)
            if np.isfinite(median):
                axes.hlines(median, middle - width / 2.5, middle + width / 2.5, color=colour)
    labels = [textwrap.fill(label, TICK_WIDTH) for label in labels_of(looks.colours).values()]
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


def _seeds(metrics: pd.DataFrame, looks: Looks) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yield rows and the opacity to draw them with: the other seeds one by one, then the first."""
    if "seed" not in metrics or looks.by == "seed":
        yield 1.0, metrics
        return
    first, *further = sorted(metrics["seed"].unique())
    for seed in (*further, first):
        yield (1.0 if seed == first else FAINT), metrics[metrics["seed"] == seed]

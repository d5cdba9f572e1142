"""Parts of figures about regimes of training: late points of all runs, borders and levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.looks import Looks
from perigee.plotting.style import INK
from perigee.plotting.trajectories import KNOWN

CONVERGENCE, EQUILIBRIUM, DIVERGENCE = "convergence", "equilibrium", "divergence"
BORDER: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 0.8, "zorder": 1}
"""The look of borders between regimes, and of levels."""


def draw_late_points(axes: Axes, regimes: pd.DataFrame, quantity: str, looks: Looks) -> None:
    """Draw a point for the late medians of each run, of all seeds, against the train loss.

    Args:
        axes: axes with trajectories of the same quantity.
        regimes: a table of `perigee.analysis.regimes`.
        quantity: the column of the metrics on the vertical axis.
        looks: the looks of the settings.
    """
    factor = KNOWN[quantity][0]
    for rows, look in looks.settings(regimes):
        axes.plot(
            rows["late_train_loss"],
            factor * rows[f"late_{quantity}"],
            color=look["color"],
            marker="o",
            markersize=4.5,
            markeredgecolor="black",
            markeredgewidth=0.5,
            linestyle="",
            zorder=5,
        )


def borders(regimes: pd.DataFrame) -> list[float]:
    """The train losses between regimes, the first of convergence and equilibrium.

    Each is the geometric mean of the highest late train loss of one regime and the lowest of the
    next, of all seeds; one that would separate nothing is left out.

    Args:
        regimes: a table of `perigee.analysis.regimes`.
    """
    found = []
    loss = regimes["late_train_loss"]
    for below, above in ((CONVERGENCE, EQUILIBRIUM), (EQUILIBRIUM, DIVERGENCE)):
        highest = loss[regimes["regime"] == below].max()
        lowest = loss[regimes["regime"] == above].min()
        if highest < lowest:
            found.append(float(np.sqrt(highest * lowest)))
    return found


def draw_borders(axes: Axes, regimes: pd.DataFrame) -> None:
    """Draw a dashed line at each of the `borders`, on axes over train losses."""
    for border in borders(regimes):
        axes.axvline(border, **BORDER)

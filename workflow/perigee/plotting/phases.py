"""Lines whose colour shows the phase of the period."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

PHASE_COLOURS = {
    "before": "0.7",
    "A": "#0173b2",
    "B": "#029e73",
    "C": "#d55e00",
    "after": "0.7",
    "none": "0.3",
}
"""The colours of the phases, from seaborn's colour-blind palette; grey is outside the period."""


def draw_by_phase(axes: Axes, steps: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw one line through all steps, coloured by phase; phases A, B and C get labels.

    Args:
        axes: the axes that get the lines.
        steps: a run's rows of `perigee.analysis.one_period`.
        x, y: the columns to draw.
        style: the style of the lines.
    """
    positions = np.arange(len(steps))
    for phase in steps["phase"].unique():
        chosen = positions[(steps["phase"] == phase).to_numpy()]
        # With the first point of the next phase, so that the line has no gaps.
        part = steps.iloc[chosen[0] : chosen[-1] + 2]
        label = phase if phase in ("A", "B", "C") else None
        axes.plot(part[x], part[y], color=PHASE_COLOURS[phase], label=label, **style)


def name_phases(axes: Axes, steps: pd.DataFrame) -> None:
    """Write A, B and C above the steps of these phases, for readers who see no colours.

    Args:
        axes: axes with the steps on the horizontal one.
        steps: see `draw_by_phase`.
    """
    axes.margins(y=0.2)
    for phase in ("A", "B", "C"):
        inside = steps.loc[steps["phase"] == phase, "step"]
        if len(inside):
            axes.annotate(
                phase,
                (float(inside.mean()), 0.97),
                xycoords=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                color=PHASE_COLOURS[phase],
            )

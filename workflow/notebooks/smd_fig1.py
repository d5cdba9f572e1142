# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A step of SGD with weight decay as a motion around the origin
# Wan et al. 2021, Figure 1, here computed on f(x, y) = x² / (x² + y²): the gradient step is
# perpendicular to the weights and leads outwards, weight decay leads inwards. The angular update Δ
# is the angle between the weights before and after both.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import numpy as np
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import INK, apply_style

apply_style()
steps = pd.read_parquet(tables["steps"])
GRADIENT, DECAY, ANGLE = "#029e73", "#d55e00", "#0173b2"
ARROW = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008, "zorder": 4}


# %%
def draw(sheet):
    """Draw the weights before and after a step, its two parts, and the angle between them."""
    (group,) = sheet.groups(1, height=3.3)
    (axes,) = group.panels
    start, end = steps.iloc[0], steps.iloc[1]
    middle = start["x"] + start["gradient_step_x"], start["y"] + start["gradient_step_y"]
    radii = np.hypot(steps["x"], steps["y"])
    turn = np.linspace(0, np.pi / 2, 200)
    for radius in radii:
        axes.plot(
            radius * np.cos(turn), radius * np.sin(turn), color=INK, linewidth=0.6, linestyle=":"
        )
    for row in (start, end):
        axes.quiver(0, 0, row["x"], row["y"], color="black", **ARROW)
    parts = (
        (
            "gradient",
            (start["x"], start["y"]),
            GRADIENT,
            "gradient step −η∂L/∂w, perpendicular to w",
        ),
        ("decay", middle, DECAY, "weight decay step −ηλw, against w"),
    )
    for part, (x, y), colour, label in parts:
        ends = start[f"{part}_step_x"], start[f"{part}_step_y"]
        axes.quiver(x, y, *ends, color=colour, label=label, **ARROW)
    first, last = np.arctan2(steps["y"], steps["x"])
    turn = np.linspace(first, last, 60)
    radius = 0.35 * radii.min()
    axes.plot(
        radius * np.cos(turn),
        radius * np.sin(turn),
        color=ANGLE,
        label="angular update Δ",
        zorder=5,
    )
    between = (first + last) / 2
    beside = {"textcoords": "offset points", "fontsize": 10.5}
    axes.annotate(
        "$Δ_t$",
        (radius * np.cos(between), radius * np.sin(between)),
        xytext=(7, 7),
        color=ANGLE,
        **beside,
    )
    axes.annotate("$w_t$", (start["x"], start["y"]), xytext=(6, -10), **beside)
    axes.annotate("$w_{t+1}$", (end["x"], end["y"]), xytext=(-8, 12), **beside)
    limit = 1.15 * max(steps[["x", "y"]].to_numpy().max(), *middle)
    axes.set(
        xlim=(-0.03, limit),
        ylim=(-0.03, limit),
        aspect="equal",
        xlabel="x",
        ylabel="y",
        title="One step around the origin",
    )
    axes.grid(visible=False)
    group.legend()


save_figure(draw, steps, folder, stamp)

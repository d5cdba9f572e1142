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
# # Angular updates grow after a decay of the learning rate
# Wan et al. 2021, Figure 7, here computed: after a decay the weight norm is too large, and so the
# angular update falls below its new equilibrium. The trajectory moves to the bottom of the basin,
# and leaves it as the angular update grows again.

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
COURSE = "#0173b2"
MOMENTS = (  # a step, a colour, and its name
    (-1, "#d55e00", "in equilibrium before"),
    (10, "#029e73", "ten steps after"),
    (int(steps["step"].max()) - 1, "#cc78bc", "in equilibrium again"),
)


# %%
def draw(sheet):
    """Draw angular updates and heights over steps, and the steps of three moments in the basin."""
    (group,) = sheet.groups(3)
    angles, heights, basin = group.panels
    angles.plot(
        steps["step"], steps["angular_update"], color=COURSE, label="course after the decay"
    )
    angles.step(
        steps["step"],
        steps["equilibrium_angular_update"],
        where="post",
        color="black",
        linestyle="--",
        linewidth=1,
        label="equilibrium",
    )
    angles.set(title="Angular update", ylabel="Δ, radians", yscale="log")
    highest = steps["value"].rolling(2).max()  # steps go from one slope to the other
    heights.plot(steps["step"], highest, color=COURSE)
    heights.set(title="Height in the basin", ylabel="higher value of two steps", yscale="log")
    for axes in (angles, heights):
        axes.axvline(0, color=INK, linestyle=":", linewidth=1, label="learning rate ÷ 10")
        axes.set(xlabel="steps after the decay")
    by_step = steps.set_index("step")
    limit = 1.2 * by_step.loc[-1:0, "angle"].abs().max()
    grid = np.linspace(-limit, limit, 300)
    basin.plot(grid, np.sin(grid) ** 2, color=INK, linewidth=1.2)
    for step, colour, label in MOMENTS:
        rows = by_step.loc[step : step + 1]
        basin.plot(rows["angle"], rows["value"], "o-", color=colour, markersize=4, label=label)
        angles.plot(step, by_step.loc[step, "angular_update"], "o", color=colour, markersize=4)
        heights.plot(step, highest[by_step.index.get_loc(step)], "o", color=colour, markersize=4)
    basin.set(title="A step in the basin", xlabel="angle, radians", ylabel="function value")
    group.legend()


save_figure(draw, steps, folder, stamp)

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
# # Angular updates and the bottom of a basin
# Wan et al. 2021, Figure 2, here computed: in equilibrium a step has the angular update √(2λη),
# whatever the slope. A large one steps over the bottom of a basin again and again; a small one
# comes nearer to it.

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
LARGE, SMALL = "#0173b2", "#029e73"


# %%
def draw(sheet):
    """Draw the basin with the steps of both angular updates on it."""
    (group,) = sheet.groups(1, height=2.6)
    (axes,) = group.panels
    limit = 1.15 * steps["angle"].abs().max()
    angle = np.linspace(-limit, limit, 400)
    axes.plot(angle, np.sin(angle) ** 2, color=INK, linewidth=1.2)
    rates = sorted(steps["learning_rate"].unique(), reverse=True)
    for rate, colour in zip(rates, (LARGE, SMALL), strict=True):
        rows = steps[steps["learning_rate"] == rate]
        update = rows["angular_update"].iloc[0]
        axes.plot(
            rows["angle"],
            rows["value"],
            "o-",
            color=colour,
            markersize=4,
            linewidth=1,
            label=f"Δ = {update:.2g} (η = {rate:g})",
        )
    axes.set(
        title="Steps of equal angular update",
        xlabel="angle from the bottom of the basin, radians",
        ylabel="function value",
    )
    group.legend("angular update in equilibrium")


save_figure(draw, steps, folder, stamp)

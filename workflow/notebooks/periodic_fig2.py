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
# # Gradient step and weight decay step of a scale-invariant function
# Lobacheva et al. 2021, Figure 2, on f(x, y) = x² / (x² + y²): the gradient step is tangential and
# leads outwards ("centrifugal force"), weight decay is radial and leads inwards ("centripetal").

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import INK, apply_style

apply_style()
steps = pd.read_parquet(tables["steps"])
GRADIENT, DECAY = "#0173b2", "#d55e00"

# %%
figure, axes = plt.subplots(figsize=(5.0, 4.6))
limit = 1.25 * np.hypot(steps["x"], steps["y"]).max()
grid = np.linspace(1e-3, limit, 300)
x, y = np.meshgrid(grid, grid)
levels = axes.contourf(x, y, x**2 / (x**2 + y**2), levels=20, cmap="Greys", alpha=0.55)
figure.colorbar(levels, ax=axes, label="f(x, y) = x² / (x² + y²)", ticks=[0, 0.5, 1])
angle = np.linspace(0, np.pi / 2, 200)
for step in steps.itertuples():
    radius = np.hypot(step.x, step.y)
    axes.plot(
        radius * np.cos(angle), radius * np.sin(angle), color=INK, linewidth=0.6, linestyle=":"
    )

ARROW = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.007, "zorder": 4}
taken = steps.iloc[:-1]
axes.quiver(
    taken["x"],
    taken["y"],
    taken["gradient_step_x"],
    taken["gradient_step_y"],
    color=GRADIENT,
    label="gradient step −η∇f(x), tangential",
    **ARROW,
)
axes.quiver(
    taken["x"],
    taken["y"],
    taken["decay_step_x"],
    taken["decay_step_y"],
    color=DECAY,
    label="weight decay step −ηλx, radial",
    **ARROW,
)
axes.plot(steps["x"], steps["y"], "o--", color="black", markersize=4, linewidth=0.8, zorder=5)
for step in steps.itertuples():
    axes.annotate(f"$x_{step.step}$", (step.x, step.y), xytext=(7, -2), textcoords="offset points")
axes.set(
    xlim=(0, limit),
    ylim=(0, limit),
    aspect="equal",
    xlabel="x",
    ylabel="y",
    title="Two forces on the weight norm",
)
axes.grid(visible=False)
axes.legend(loc="upper right")
save_figure(figure, steps, folder, stamp)

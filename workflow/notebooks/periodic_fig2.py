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
import numpy as np
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import INK, apply_style

apply_style()
steps = pd.read_parquet(tables["steps"])
GRADIENT, DECAY = "#0173b2", "#d55e00"
ARROW = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.007, "zorder": 4}
ARROWS = (
    ("gradient_step", GRADIENT, "gradient step −η∇f(x), tangential"),
    ("decay_step", DECAY, "weight decay step −ηλx, radial"),
)


# %%
def draw(sheet):
    """Draw the function, the steps on it, and circles of the norms between them."""
    (group,) = sheet.groups(1, height=3.3)
    (axes,) = group.panels
    limit = 1.25 * np.hypot(steps["x"], steps["y"]).max()
    grid = np.linspace(1e-3, limit, 300)
    x, y = np.meshgrid(grid, grid)
    levels = axes.contourf(x, y, x**2 / (x**2 + y**2), levels=20, cmap="Greys", alpha=0.55)
    sheet.figure.colorbar(levels, ax=axes, label="f(x, y) = x² / (x² + y²)", ticks=[0, 0.5, 1])
    angle = np.linspace(0, np.pi / 2, 200)
    for radius in np.hypot(steps["x"], steps["y"]):
        circle = radius * np.cos(angle), radius * np.sin(angle)
        axes.plot(*circle, color=INK, linewidth=0.6, linestyle=":")
    taken = steps.iloc[:-1]
    for step, colour, label in ARROWS:
        ends = taken[f"{step}_x"], taken[f"{step}_y"]
        axes.quiver(taken["x"], taken["y"], *ends, color=colour, label=label, **ARROW)
    axes.plot(steps["x"], steps["y"], "o--", color="black", markersize=4, linewidth=0.8, zorder=5)
    for step in steps.itertuples():
        beside = {"xytext": (6, 5), "textcoords": "offset points"}
        # The index is 0.7 times as large, and no smaller than the smallest type.
        axes.annotate(f"$x_{step.step}$", (step.x, step.y), fontsize=10.5, **beside)
    axes.set(
        xlim=(0, limit),
        ylim=(0, limit),
        aspect="equal",
        xlabel="x",
        ylabel="y",
        title="Two forces on the weight norm",
    )
    axes.grid(visible=False)
    group.legend()


save_figure(draw, steps, folder, stamp)

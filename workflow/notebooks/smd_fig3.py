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
# # Unit gradients, weight norm and angular update beside their equilibrium
# Wan et al. 2021, Figure 3: one layer, trained by SGD and by SGD with momentum at one learning rate
# and weight decay. From the mean unit gradients of some consecutive steps follows the norm of
# equilibrium; its angular update follows from the settings alone.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import first_seed, of_one_seed
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style

apply_style()
steps = pd.read_parquet(tables["steps"])
KEY = "optimiser.momentum"
UNIT, NORM, ANGLE = "#029e73", "#0173b2", "#d55e00"
RAW = {"linewidth": 0.5, "alpha": 0.45}
THEORY = {"color": "black", "linestyle": "--", "linewidth": 1, "zorder": 3}
shown = first_seed(steps)


# %%
def draw(sheet):
    """Draw a row of three panels for each momentum, of the first seed."""
    (layer,) = shown["layer"].unique()
    groups = sheet.groups(3, 3)
    for group, (momentum, rows) in zip(groups, shown.groupby(KEY), strict=True):
        unit, norm, angle = group.panels
        name = f"SGD, momentum {momentum:g}" if momentum else "SGD"
        squared = "h̃" if momentum else "‖g̃‖²"
        unit.plot(
            rows["step"], rows["unit_gradient"], color=UNIT, label=f"{squared} of a step", **RAW
        )
        unit.plot(rows["step"], rows["mean_unit_gradient"], color=UNIT, label="its running mean")
        positive = rows.loc[rows["unit_gradient"] > 0, "unit_gradient"]
        unit.set(
            title=f"{name}: {squared}",
            yscale="log",
            ylim=(positive.quantile(0.002) / 2, 2 * positive.max()),
        )
        norm.plot(rows["step"], rows["norm"], color=NORM, label="norm")
        norm.plot(
            rows["step"], rows["equilibrium_norm"], label="equilibrium, of the mean", **THEORY
        )
        norm.set(title=f"{name}: ‖w‖")
        angle.plot(rows["step"], rows["angular_update"], color=ANGLE, label="angular update", **RAW)
        angle.plot(
            rows["step"], rows["equilibrium_angular_update"], label="√(2λη / (1 + α))", **THEORY
        )
        angle.set(title=f"{name}: Δ, radians", yscale="log")
        for axes in group.panels:
            axes.set(xlabel="step")
        group.legend(f"{layer}{of_one_seed(steps)}")


save_figure(draw, steps, folder, stamp)

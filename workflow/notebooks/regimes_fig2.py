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
# # Three regimes of a toy function on the unit sphere
# Kodryan et al. 2022, Figure 2: the value of F(x, y) = Σ αᵢ xᵢ² / (xᵢ² + yᵢ²) under projected
# gradient descent with three effective learning rates, one for each regime.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, ordered_colours

apply_style()
values = pd.read_parquet(tables["values"])
colours = ordered_colours(values["effective_learning_rate"])

# %%
figure, axes = plt.subplots(figsize=(5.2, 3.6))
for rate, trajectory in values.groupby("effective_learning_rate"):
    axes.plot(trajectory["iteration"], trajectory["value"], color=colours[rate], label=f"{rate:g}")
axes.set(
    title="Function value on the unit sphere",
    xlabel="iteration",
    ylabel="F(x, y)",
    yscale="log",
    ylim=(1e-5, 1e1),  # the first regime goes on falling, out of the picture
)
axes.legend(title="effective learning rate", loc="lower right")
save_figure(figure, values, folder, stamp)

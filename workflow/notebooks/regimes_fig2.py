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
import pandas as pd

from perigee.plotting.looks import Looks
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style

apply_style()
values = pd.read_parquet(tables["values"])
looks = Looks.of(values, ["effective_learning_rate"])


# %%
def draw(sheet):
    """Draw a line for each effective learning rate."""
    (group,) = sheet.groups(1, height=2.6)
    (axes,) = group.panels
    for trajectory, look in looks.settings(values):
        axes.plot(trajectory["iteration"], trajectory["value"], **look)
    axes.set(
        title="Function value on the unit sphere",
        xlabel="iteration",
        ylabel="F(x, y)",
        yscale="log",
        ylim=(1e-5, 1e1),  # the first regime goes on falling, out of the picture
    )
    group.legend("effective learning rate", looks.legend(values))


save_figure(draw, values, folder, stamp)

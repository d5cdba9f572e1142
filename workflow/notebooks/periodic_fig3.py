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
# # Periodic behaviour of a scale-invariant ConvNet
# Lobacheva et al. 2021, Figure 3: train loss, test error, norm ρ of the scale-invariant weights,
# and the phase diagram, for several learning rates.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style
from perigee.plotting.trajectories import draw_over_epochs, draw_phase_diagram

apply_style()
metrics = pd.read_parquet(tables["runs"])
looks = Looks.of(metrics, ["optimiser.learning_rate"])


# %%
def draw(sheet):
    """Draw one seed, since periods of different seeds are not in phase, and the range of ρ."""
    (group,) = sheet.groups(4)
    *over_epochs, phase = group.panels
    quantities = ("train_loss", "test_error", "weight_norm")
    for axes, quantity in zip(over_epochs, quantities, strict=True):
        draw_over_epochs(axes, metrics, quantity, looks)
    draw_phase_diagram(phase, metrics, looks)
    told = seeds_in_words(metrics, "first seed", band="band of ρ")
    group.legend("learning rate" + told, looks.legend(metrics))


save_figure(draw, metrics, folder, stamp)

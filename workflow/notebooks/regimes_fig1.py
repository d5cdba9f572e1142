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
# # Three regimes of training on the sphere
# Kodryan et al. 2022, Figure 1: train loss, test error and mean effective gradient norm over
# epochs, and the latter two against the train loss, for fixed effective learning rates.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.regimes import draw_borders, draw_late_points
from perigee.plotting.style import apply_style
from perigee.plotting.trajectories import draw_against_loss, draw_over_epochs

apply_style()
metrics, regimes = (pd.read_parquet(tables[name]) for name in ("runs", "regimes"))
KEY = "optimiser.effective_learning_rate"
# Those that the official notebook draws, where all of them are there; of the others late points are
# drawn alone.
DRAWN = [1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.05, 0.1]
drawn = metrics[metrics[KEY].isin(DRAWN)] if set(DRAWN) <= set(metrics[KEY]) else metrics
looks = Looks.of(drawn, [KEY])
others = regimes[~regimes[KEY].isin(drawn[KEY])]
pale = Looks.of(others, [KEY], dict.fromkeys(others[KEY], "0.8"))


# %%
def draw(sheet):
    """Draw one seed over epochs, and the late medians of all seeds against the train loss."""
    (group,) = sheet.groups(5)
    *over_epochs, sharpness, generalisation = group.panels
    quantities = ("train_loss", "test_error", "effective_gradient_norm")
    for axes, quantity in zip(over_epochs, quantities, strict=True):
        draw_over_epochs(axes, drawn, quantity, looks)
    pairs = ((sharpness, "effective_gradient_norm"), (generalisation, "test_error"))
    for axes, quantity in pairs:
        draw_against_loss(axes, drawn, quantity, looks)
        draw_late_points(axes, others, quantity, pale)
        draw_late_points(axes, regimes, quantity, looks)
        draw_borders(axes, regimes)
    told = seeds_in_words(metrics, "first seed")
    title = "effective learning rate; ○ late in a run; dashed: borders between regimes"
    title += "; pale: at other rates" if len(others) else ""
    group.legend(title + told, looks.legend(drawn))


save_figure(draw, metrics, folder, stamp)

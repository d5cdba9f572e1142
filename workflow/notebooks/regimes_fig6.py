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
# # The regimes and the transitions between them
# Kodryan et al. 2022, Figure 6: train loss for effective learning rates of the three regimes and of
# the two borders between them.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, first_seed, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, in_words
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
metrics, regimes = (pd.read_parquet(tables[name]) for name in ("runs", "regimes"))
KEY = "optimiser.effective_learning_rate"
PAPER = ("#ff7f0e", "#e6b800", "#2ca02c", "#2ca02c", "#6cb6e8", "#7b3fa0")
rates = sorted(metrics[KEY].unique())
regime = first_seed(regimes).set_index(KEY)["regime"]
colours = dict(zip(rates, PAPER, strict=False))
words = {rate: f"{in_words(rate)}, {in_words(regime[rate])}" for rate in rates}
looks = Looks.of(metrics, [KEY], colours, words)


# %%
def draw(sheet):
    """Draw one seed, since transitions of different seeds are at epochs of their own."""
    (group,) = sheet.groups(1, height=3.2)
    (axes,) = group.panels
    draw_over_epochs(axes, metrics, "train_loss", looks)
    title = "effective learning rate, regime" + seeds_in_words(metrics, "first seed")
    group.legend(title, looks.legend(metrics))


save_figure(draw, metrics, folder, stamp)

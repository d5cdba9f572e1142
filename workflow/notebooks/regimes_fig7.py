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
# # Regimes in standard training
# Kodryan et al. 2022, Figure 7: train loss of scale-invariant networks in the whole space with
# weight decay (left); mean gradient norm and test error against train loss of standard networks
# with a constant learning rate (middle) and with one that decays to zero by a cosine (right).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style
from perigee.plotting.trajectories import draw_against_loss, draw_over_epochs

apply_style()
KEY = "optimiser.learning_rate"
decayed, constant, cosine = (
    pd.read_parquet(tables[name]) for name in ("decayed", "constant", "cosine")
)


# %%
def draw(sheet):
    """Draw one seed; over epochs where the norm is free, else against the train loss."""
    left, middle, right = sheet.groups(2, 2, 2)
    looks = Looks.of(decayed, [KEY])
    for axes, quantity in zip(left.panels, ("train_loss", "effective_learning_rate"), strict=True):
        draw_over_epochs(axes, decayed, quantity, looks)
    title = "scale-invariant ConvNet, learning rate"
    left.legend(title + seeds_in_words(decayed, "first seed", band="band"), looks.legend(decayed))
    parts = (
        (middle, constant, "constant learning rate"),
        (right, cosine, "learning rate that falls by a cosine from"),
    )
    for group, rows, words in parts:
        looks = Looks.of(rows, [KEY])
        for axes, quantity in zip(group.panels, ("full_gradient_norm", "test_error"), strict=True):
            draw_against_loss(axes, rows, quantity, looks)
        title = f"standard ResNet-18, {words}"
        group.legend(title + seeds_in_words(rows, "first seed"), looks.legend(rows))


plotted = pd.concat(
    [decayed, constant, cosine], keys=["decayed", "constant", "cosine"], names=["panels"]
)
save_figure(draw, plotted.reset_index("panels"), folder, stamp)

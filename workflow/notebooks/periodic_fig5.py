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
# # No periods where the weight norm is fixed
# Lobacheva et al. 2021, Figure 5: train loss and test error with the norm ρ of the scale-invariant
# weights fixed at several values from the initialisation (left pair) and at what it is before a
# destabilisation (right pair).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, first_seed, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
FREE = "free norm"
initialisation, forks = (pd.read_parquet(tables[name]) for name in ("initialisation", "forks"))
forks["epoch"] += forks["fork_epoch"]  # counted from the parent's start


def norms_in_words(metrics, key):
    """Norm and effective learning rate of each setting's first seed, at its start."""
    first = first_seed(metrics).groupby(key).first()
    pairs = zip(first.index, first["weight_norm"], first["effective_learning_rate"], strict=True)
    return {value: f"{norm:.2g} / {rate:.1g}" for value, norm, rate in pairs}


at_start = norms_in_words(initialisation, "constraint.norm")
at_fork = {
    label: f"{label.removeprefix('fixed ')}: {words}"
    for label, words in norms_in_words(forks, "label").items()
    if label != FREE
}


# %%
def draw(sheet):
    """Draw medians where nothing happens to a run at an epoch of its own, and else one seed."""
    pairs = (
        ("at initialisation", initialisation, "constraint.norm", at_start, "median", "band"),
        ("before destabilisation", forks, "label", at_fork, "first seed", ""),
    )
    for group, (when, metrics, key, words, drawn, band) in zip(
        sheet.groups(2, 2), pairs, strict=True
    ):
        looks = Looks.of(metrics, [key], colours={FREE: "0.6"}, labels=words)
        for axes, quantity in zip(group.panels, ("train_loss", "test_error"), strict=True):
            draw_over_epochs(axes, metrics, quantity, looks, drawn)
        told = seeds_in_words(metrics, drawn, band)
        group.legend(f"ρ fixed {when}: ρ / ELR{told}", looks.legend(metrics))


plotted = pd.concat([initialisation, forks], keys=["initialisation", "forks"], names=["panels"])
save_figure(draw, plotted.reset_index("panels"), folder, stamp)

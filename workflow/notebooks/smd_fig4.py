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
# # Train loss and test error at several angular updates
# Wan et al. 2021, Figure 4: pairs of learning rate and weight decay of two products, by SGD and by
# SGD with momentum. The equilibrium angular update follows from product and momentum alone.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import CATEGORIES, apply_style
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
RATE, DECAY, MOMENTUM = "optimiser.learning_rate", "optimiser.weight_decay", "optimiser.momentum"
THEORY = {"color": "black", "linestyle": "--", "linewidth": 0.8, "zorder": 4}


def with_pairs(rows):
    """Return the rows with learning rate and weight decay in one column."""
    pairs = [
        f"η {rate:g}, λ {decay:g}" for rate, decay in zip(rows[RATE], rows[DECAY], strict=True)
    ]
    return rows.assign(pair=pairs)


runs = with_pairs(pd.read_parquet(tables["runs"]))
courses = with_pairs(pd.read_parquet(tables["courses"]))
colours = dict(zip(dict.fromkeys(runs["pair"]), CATEGORIES, strict=False))


# %%
def draw(sheet):
    """Draw train loss, test error and angular update for each momentum."""
    momenta = sorted(runs[MOMENTUM].unique())
    (layer,) = courses["layer"].unique()
    columns = []
    for group, momentum in zip(sheet.groups(*[3] * len(momenta)), momenta, strict=True):
        metrics = runs[runs[MOMENTUM] == momentum]
        steps = courses[courses[MOMENTUM] == momentum]
        looks = Looks.of(metrics, ["pair"], colours)
        loss, error, angle = group.panels
        name = "SGDM" if momentum else "SGD"
        draw_over_epochs(loss, metrics, "train_loss", looks, "median", of=name)
        draw_over_epochs(error, metrics, "test_error", looks, "median", of=name)
        draw_over_epochs(angle, steps, "angular_update", looks, "median", of=name, along="step")
        for _, rows in steps.groupby("pair"):
            theory = rows.groupby("step")["equilibrium_angular_update"].first()
            angle.plot(theory.index, theory, label="√(2λη / (1 + α))", **THEORY)
        told = f"{name}, α = {momentum:g}" if momentum else name
        words = f"{told}; Δ of {layer}{seeds_in_words(metrics, 'median', band='band')}"
        group.legend(words, [*looks.legend(metrics), angle.lines[-1]])
        columns.append(group.panels)
    for axes in zip(*columns, strict=True):
        low, high = zip(*(one.get_ylim() for one in axes), strict=True)
        for one in axes:
            one.set_ylim(min(low), max(high))


save_figure(draw, runs, folder, stamp)

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
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, colours_of
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
FREE = "free norm"


def prepared(table):
    """With the test error in %, epochs counted from the parent's start, and a legend's words."""
    metrics = pd.read_parquet(tables[table])
    metrics["test_error_percent"] = 100 * metrics["test_error"]
    metrics["epoch"] += metrics["fork_epoch"]
    first = metrics.groupby("run")[["weight_norm", "effective_learning_rate"]].first()
    words = {
        run: f"{row.weight_norm:.2g} / {row.effective_learning_rate:.1g}"
        for run, row in first.iterrows()
    }
    return metrics.assign(legend=metrics["run"].map(words))


initialisation, forks = prepared("initialisation"), prepared("forks")
fixed = forks["label"] != FREE
when = forks["label"].str.removeprefix("fixed ")
forks["legend"] = forks["label"].mask(fixed, when + ": " + forks["legend"])

# %%
figure, axes = plt.subplots(1, 4, figsize=(14.5, 3.9))
pairs = [
    (axes[:2], initialisation, "ρ fixed at initialisation: ρ / ELR"),
    (axes[2:], forks, "ρ fixed before destabilisation: ρ / ELR"),
]
for (loss, error), metrics, title in pairs:
    shown = metrics[metrics["seed"] == metrics["seed"].min()]
    by_rate = shown.groupby("legend", sort=False)["effective_learning_rate"].first()
    order = by_rate.sort_values(ascending=False).index
    colours = dict(zip(order, colours_of(range(len(order))).values(), strict=True))
    if FREE in colours:
        colours[FREE] = "0.6"
    draw_over_epochs(loss, shown, "train_loss", colours, by="legend")
    loss.set(title="Train loss", xlabel="epoch", yscale="log")
    draw_over_epochs(error, shown, "test_error_percent", colours, by="legend")
    error.set(title="Test error, %", xlabel="epoch", yscale="log")
    handles, labels = loss.get_legend_handles_labels()
    loss.legend(handles, labels, title=title, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)

plotted = pd.concat([initialisation, forks], keys=["initialisation", "forks"], names=["panels"])
save_figure(figure, plotted.reset_index("panels"), folder, stamp)

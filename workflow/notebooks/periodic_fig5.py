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
    return metrics.assign(norm_and_rate=metrics["run"].map(words))


initialisation, forks = prepared("initialisation"), prepared("forks")
forks.loc[forks["label"] == "free norm", "norm_and_rate"] = "free"

# %%
figure, axes = plt.subplots(1, 4, figsize=(14.5, 3.9))
pairs = [
    (axes[:2], initialisation, "ρ fixed at initialisation: ρ / ELR"),
    (axes[2:], forks, "ρ fixed before destabilisation: ρ / ELR"),
]
for (loss, error), metrics, legend in pairs:
    shown = metrics[metrics["seed"] == metrics["seed"].min()]
    by_rate = shown.groupby("norm_and_rate", sort=False)["effective_learning_rate"].first()
    order = by_rate.sort_values(ascending=False).index
    colours = dict(zip(order, colours_of(range(len(order))).values(), strict=True))
    if "free" in colours:
        colours["free"] = "0.6"
    draw_over_epochs(loss, shown, "train_loss", colours, by="norm_and_rate")
    loss.set(title="Train loss", xlabel="epoch", yscale="log")
    draw_over_epochs(error, shown, "test_error_percent", colours, by="norm_and_rate")
    error.set(title="Test error, %", xlabel="epoch", yscale="log")
    handles, labels = loss.get_legend_handles_labels()
    loss.legend(handles, labels, title=legend, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=5)

plotted = pd.concat([initialisation, forks], keys=["initialisation", "forks"], names=["panels"])
save_figure(figure, plotted.reset_index("panels"), folder, stamp)

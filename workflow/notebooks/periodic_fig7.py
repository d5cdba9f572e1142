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
# # Periodic behaviour with more practical modifications
# Lobacheva et al. 2021, Figure 7: a wide ConvNet with one modification at a time (left), and with
# all of them at several learning rates (right pair).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, colours_of, ordered_colours
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
single, together = (pd.read_parquet(tables[name]) for name in ("single", "together"))
together["test_error_percent"] = 100 * together["test_error"]

# %%
figure, (one, loss, error) = plt.subplots(1, 3, figsize=(14.5, 4.2), width_ratios=(1.5, 1, 1))
legend = {"loc": "upper left", "bbox_to_anchor": (0, -0.18), "ncols": 5}

draw_over_epochs(one, single, "train_loss", colours_of(single["label"]), by="label", alpha=0.85)
rate = single["learning_rate"].iloc[0]
one.set(title="Train loss, one modification at a time", xlabel="epoch", yscale="log")
one.legend(title=f"learning rate {rate:g}", **legend)

colours = ordered_colours(together["optimiser.learning_rate"])
draw_over_epochs(loss, together, "train_loss", colours)
loss.set(title="All modifications: train loss", xlabel="epoch", yscale="log")
draw_over_epochs(error, together, "test_error_percent", colours)
error.set(title="All modifications: test error, %", xlabel="epoch", yscale="log")
handles, labels = loss.get_legend_handles_labels()
loss.legend(handles[::-1], labels[::-1], title="learning rate", **legend)

plotted = pd.concat([single, together], keys=["single", "together"], names=["panels"])
save_figure(figure, plotted.reset_index("panels"), folder, stamp)

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
# # Periodic behaviour of standard networks
# Lobacheva et al. 2021, Figure 1: train loss and test error of a ConvNet and of a ResNet-18 all of
# whose weights are trained.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, ordered_colours
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
networks = {"ConvNet": "convnet", "ResNet-18": "resnet18"}
metrics = {}
for network, table in networks.items():
    metrics[network] = pd.read_parquet(tables[table])
    metrics[network]["test_error_percent"] = 100 * metrics[network]["test_error"]

# %%
figure, axes = plt.subplots(1, 4, figsize=(14.5, 3.9))
for (network, shown), (loss, error) in zip(metrics.items(), (axes[:2], axes[2:]), strict=True):
    colours = ordered_colours(shown["optimiser.learning_rate"])
    draw_over_epochs(loss, shown, "train_loss", colours)
    loss.set(title=f"{network}: train loss", xlabel="epoch", yscale="log")
    draw_over_epochs(error, shown, "test_error_percent", colours)
    error.set(title=f"{network}: test error, %", xlabel="epoch", yscale="log")
    handles, labels = loss.get_legend_handles_labels()
    loss.legend(
        handles[::-1],
        labels[::-1],
        title="learning rate",
        loc="upper left",
        bbox_to_anchor=(0, -0.2),
        ncols=5,
    )
plotted = pd.concat(metrics, names=["network"]).reset_index("network")
save_figure(figure, plotted, folder, stamp)

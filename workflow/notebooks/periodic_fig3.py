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
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, ordered_colours
from perigee.plotting.trajectories import draw_over_epochs, draw_phase_diagram

apply_style()
metrics = pd.read_parquet(tables["runs"])
metrics["test_error_percent"] = 100 * metrics["test_error"]
colours = ordered_colours(metrics["optimiser.learning_rate"])

# %%
figure, (loss, error, norm, phase) = plt.subplots(1, 4, figsize=(14.5, 3.6))
draw_over_epochs(loss, metrics, "train_loss", colours)
loss.set(title="Train loss", xlabel="epoch", yscale="log")
draw_over_epochs(error, metrics, "test_error_percent", colours)
error.set(title="Test error, %", xlabel="epoch", yscale="log")
draw_over_epochs(norm, metrics, "weight_norm", colours)
norm.set(title="SI weight norm ρ", xlabel="epoch", yscale="log")
draw_phase_diagram(phase, metrics, colours)
phase.set(
    title="Phase diagram",
    xlabel="effective learning rate η / ρ²",
    ylabel="mean effective gradient norm",
)
handles, labels = loss.get_legend_handles_labels()
figure.legend(
    handles[::-1], labels[::-1], title="learning rate", loc="outside right center", frameon=False
)
save_figure(figure, metrics, folder, stamp)

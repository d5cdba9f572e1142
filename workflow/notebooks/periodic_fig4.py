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
# # A closer look at one training period
# Lobacheva et al. 2021, Figure 4: every SGD step of one period, its phases A, B and C, the
# destabilisation in detail, and the cosine distance of adjacent steps with its bounds in phase B.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.phases import PHASE_COLOURS, draw_by_phase
from perigee.plotting.style import INK, apply_style

apply_style()
periods = pd.read_parquet(tables["period"])
shown = periods[periods["run"] == 0]
rate = shown["optimiser.learning_rate"].iloc[0]

# %%
figure, axes = plt.subplots(2, 3, figsize=(12, 6.4))
loss, norm, gradient, phase, zoom, distance = axes.flat

draw_by_phase(loss, shown, "step", "loss", linewidth=0.5)
loss.set(title="Train loss (mini-batch)", xlabel="SGD step", yscale="log")
draw_by_phase(norm, shown, "step", "weight_norm")
norm.set(title="SI weight norm ρ", xlabel="SGD step")
draw_by_phase(gradient, shown, "step", "effective_gradient_norm", linewidth=0.5)
gradient.set(title="Effective gradient norm (mini-batch)", xlabel="SGD step", yscale="log")

draw_by_phase(phase, shown, "effective_learning_rate", "effective_gradient_norm", linewidth=0.5)
phase.set(
    title="Phase diagram",
    xlabel="effective learning rate η / ρ²",
    ylabel="effective gradient norm",
    xscale="log",
    yscale="log",
)

# %%
# Phase C with as much before and after it as it lasts itself.
in_c = shown[shown["phase"] == "C"]
length = len(in_c)
start = in_c["step"].min() if length else shown["step"].min()
near_c = shown[shown["step"].between(start - length, start + 2 * length)] if length else shown
draw_by_phase(zoom, near_c, "step", "loss")
zoom.set(title="Phase C: loss (solid), ρ (dashed)", xlabel="SGD step", yscale="log")
zoom.set_ylabel("train loss (mini-batch)")
zoom_norm = zoom.twinx()
draw_by_phase(zoom_norm, near_c, "step", "weight_norm", linestyle="--")
zoom_norm.set_ylabel("ρ")
zoom_norm.grid(visible=False)

# %%
in_b = shown[shown["phase"].isin(["B", "none"])]
distance.plot(
    in_b["step"], in_b["cosine_distance"], color=PHASE_COLOURS["B"], linewidth=0.4, alpha=0.6
)
distance.plot(in_b["step"], in_b["cosine_distance_trend"], color="black", label="smoothed trend")
distance.plot(in_b["step"], in_b["upper_bound"], "--", color=INK, label="bounds δ_min and δ_max")
distance.plot(in_b["step"], in_b["lower_bound"], "--", color=INK)
distance.set(title="Phase B: cosine distance of steps", xlabel="SGD step", yscale="log")
distance.legend(loc="best")

handles, labels = norm.get_legend_handles_labels()
figure.legend(handles, labels, title=f"phase, η = {rate:g}", loc="outside right center")
save_figure(figure, periods, folder, stamp)

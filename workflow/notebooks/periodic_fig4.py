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
import pandas as pd

from perigee.plotting.looks import first_seed
from perigee.plotting.output import save_figure
from perigee.plotting.phases import PHASE_COLOURS, draw_by_phase, name_phases
from perigee.plotting.style import INK, apply_style, in_words

apply_style()
periods = pd.read_parquet(tables["period"])
shown = first_seed(periods)
rate, seed = shown["optimiser.learning_rate"].iloc[0], shown["seed"].iloc[0]

# Phase C with as much before and after it as it lasts itself.
in_c = shown[shown["phase"] == "C"]
length = len(in_c)
start = in_c["step"].min() if length else shown["step"].min()
near_c = shown[shown["step"].between(start - length, start + 2 * length)] if length else shown
in_b = shown[shown["phase"].isin(["B", "none"])]


# %%
def draw(sheet):
    """Draw one period of one seed."""
    (group,) = sheet.groups(6)
    loss, norm, gradient, phase, zoom, distance = group.panels

    draw_by_phase(loss, shown, "step", "loss", linewidth=0.5)
    loss.set(title="Train loss (mini-batch)", xlabel="SGD step", yscale="log")
    draw_by_phase(norm, shown, "step", "weight_norm")
    name_phases(norm, shown)
    norm.set(title="SI weight norm ρ", xlabel="SGD step")
    draw_by_phase(gradient, shown, "step", "effective_gradient_norm", linewidth=0.5)
    gradient.set(title="Effective gradient norm (mini-batch)", xlabel="SGD step", yscale="log")

    elr, gradient_norm = "effective_learning_rate", "effective_gradient_norm"
    draw_by_phase(phase, shown, elr, gradient_norm, linewidth=0.5)
    phase.set(title="Phase diagram", xscale="log", yscale="log")
    phase.set(xlabel="effective learning rate η / ρ²", ylabel="effective gradient norm")

    draw_by_phase(zoom, near_c, "step", "loss")
    zoom.set(title="Phase C: loss (solid), ρ (dashed)", xlabel="SGD step", yscale="log")
    zoom.set_ylabel("train loss (mini-batch)")
    zoom_norm = zoom.twinx()
    draw_by_phase(zoom_norm, near_c, "step", "weight_norm", linestyle="--")
    zoom_norm.set_ylabel("ρ")
    zoom_norm.grid(visible=False)

    steps, thin = in_b["step"], {"linewidth": 0.4, "alpha": 0.6}
    distance.plot(steps, in_b["cosine_distance"], color=PHASE_COLOURS["B"], **thin)
    distance.plot(steps, in_b["cosine_distance_trend"], color="black", label="smoothed trend")
    distance.plot(steps, in_b["upper_bound"], "--", color=INK, label="bounds δ min and δ max")
    distance.plot(steps, in_b["lower_bound"], "--", color=INK)
    distance.set(title="Phase B: cosine distance of steps", xlabel="SGD step", yscale="log")

    n = periods["seed"].nunique()
    title = f"phases of seed {in_words(seed)} (one of n = {n}), η = {rate:g}"
    (phases, _), (curves, _) = (axes.get_legend_handles_labels() for axes in (norm, distance))
    group.legend(title, [*phases, *curves])


save_figure(draw, periods, folder, stamp)

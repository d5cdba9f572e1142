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
# # Angular updates after decays of the learning rate
# Wan et al. 2021, Figure 5: the angular update of every convolution, where the learning rate is
# divided by ten several times, and where the weights are divided by the fourth root of ten as well;
# and the weight norm of one layer. Above or first a network that classifies, then one that detects.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import LINES, first_seed, of_one_seed
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style, ordered_colours

apply_style()
NETWORKS = {"steps": "ResNet", "coco_steps": "Mask R-CNN"}
steps = pd.concat(
    [pd.read_parquet(tables[table]).assign(network=name) for table, name in NETWORKS.items()],
    ignore_index=True,
)
SHOWN = "layer1.0.conv2"
SCHEDULES = {"standard": "step decay", "rescaled": "rescaled"}
NORMS = {"standard": ("#0173b2", "-"), "rescaled": ("#de8f05", (0, (4, 1.2)))}


# %%
def draw_angles(axes, runs, title):
    """Draw the angular update of all layers of a run, and its equilibrium."""
    layers = list(dict.fromkeys(runs["layer"]))
    colours = ordered_colours(range(len(layers)))
    for place, layer in enumerate(layers):
        rows = runs[runs["layer"] == layer]
        is_last = place == len(layers) - 1
        axes.plot(
            rows["step"],
            rows["angular_update"],
            color=colours[place],
            linewidth=0.5,
            alpha=0.7,
            linestyle=LINES[2] if is_last else LINES[0],
            label=layer if place == 0 or is_last else None,
        )
    theory = runs[runs["layer"] == layers[0]]
    axes.plot(
        theory["step"],
        theory["equilibrium_angular_update"],
        color="black",
        linestyle="--",
        linewidth=1.2,
        zorder=4,
        label="√(2λη / (1 + α))",
    )
    axes.set(title=title, xlabel="step", yscale="log")
    return len(layers)


def draw(sheet):
    """Draw for each network a panel of all layers for each schedule, and the norms of one layer."""
    for group, network in zip(sheet.groups(3, 3), NETWORKS.values(), strict=True):
        shown = first_seed(steps[steps["network"] == network])
        *angles, norms = group.panels
        for axes, (label, schedule) in zip(angles, SCHEDULES.items(), strict=True):
            runs = shown[shown["label"] == label]
            layers = draw_angles(axes, runs, f"{network}, {schedule}: Δ, radians")
        low, high = zip(*(axes.get_ylim() for axes in angles), strict=True)
        for axes in angles:
            axes.set_ylim(min(low), max(high))
        for label, (colour, line) in NORMS.items():
            rows = shown[(shown["label"] == label) & (shown["layer"] == SHOWN)]
            name = f"norm, {SCHEDULES[label]}"
            norms.plot(rows["step"], rows["norm"], color=colour, linestyle=line, label=name)
        norms.set(title=f"Norm of {SHOWN}", xlabel="step", yscale="log")
        group.legend(f"all {layers} convolutions, the first to the last{of_one_seed(steps)}")


save_figure(draw, steps, folder, stamp)

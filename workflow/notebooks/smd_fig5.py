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
# divided by ten three times, and where the weights are divided by the fourth root of ten as well;
# and the weight norm of one layer.

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
steps = pd.read_parquet(tables["steps"])
SHOWN = "layer1.0.conv2"
SCHEDULES = {"standard": "Step decay", "rescaled": "Step decay, weights rescaled"}
NORMS = {"standard": ("#0173b2", "-"), "rescaled": ("#de8f05", (0, (4, 1.2)))}
shown = first_seed(steps)
layers = list(dict.fromkeys(shown["layer"]))
colours = ordered_colours(range(len(layers)))


# %%
def draw(sheet):
    """Draw a panel of all layers for each schedule, and the norms of one layer."""
    angles, norms = sheet.groups(2, 1)
    for axes, (label, title) in zip(angles.panels, SCHEDULES.items(), strict=True):
        runs = shown[shown["label"] == label]
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
        axes.set(title=f"{title}: Δ, radians", xlabel="step", yscale="log")
    low, high = zip(*(axes.get_ylim() for axes in angles.panels), strict=True)
    for axes in angles.panels:
        axes.set_ylim(min(low), max(high))
    (axes,) = norms.panels
    for label, (colour, line) in NORMS.items():
        rows = shown[(shown["label"] == label) & (shown["layer"] == SHOWN)]
        axes.plot(rows["step"], rows["norm"], color=colour, linestyle=line, label=label)
    axes.set(title=f"Weight norm of {SHOWN}", xlabel="step", yscale="log")
    angles.legend(f"all {len(layers)} convolutions, the first to the last{of_one_seed(steps)}")
    norms.legend(f"{SHOWN}{of_one_seed(steps)}")


save_figure(draw, steps, folder, stamp)

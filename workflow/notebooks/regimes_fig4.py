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
# # Individual effective step sizes become equal in the second regime
# Kodryan et al. 2022, Figure 4: individual effective learning rates and gradient norms of all
# filters, averaged over the last fifth of training; here beside a run of the first regime. Gradient
# norms are averaged as root mean squares (our choice), since those of steps become equal.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import numpy as np
import pandas as pd

from perigee.plotting.looks import first_seed, of_one_seed
from perigee.plotting.output import save_figure
from perigee.plotting.regimes import BORDER
from perigee.plotting.style import apply_style, ordered_colours

apply_style()
filters, regimes = (pd.read_parquet(tables[name]) for name in ("filters", "regimes"))
KEY = "optimiser.effective_learning_rate"
shown = first_seed(filters)
layers = list(dict.fromkeys(shown["layer"]))
colours = dict(zip(layers, ordered_colours(range(len(layers))).values(), strict=True))
regime = first_seed(regimes).set_index(KEY)["regime"]


# %%
def draw(sheet):
    """Draw a point per filter of the first seed, and the line of equal effective step sizes."""
    rates = sorted(shown[KEY].unique())
    (group,) = sheet.groups(len(rates))
    for axes, rate in zip(group.panels, rates, strict=True):
        rows = shown[shown[KEY] == rate]
        for number, (layer, colour) in enumerate(colours.items(), start=1):
            points = rows[rows["layer"] == layer]
            axes.plot(
                points["effective_learning_rate"],
                points["effective_gradient_norm_rms"],
                marker="o",
                markersize=3,
                markeredgewidth=0,
                alpha=0.7,
                linestyle="",
                color=colour,
                zorder=2.9 - 0.1 * number,  # layers with few filters above those with many
                label=f"convolution {number} ({len(points)} filters)",
            )
        ends = rows["effective_learning_rate"].agg(["min", "max"]).to_numpy() * [0.7, 1.4]
        step = rows["total_effective_step_size_rms"].iloc[0]
        axes.plot(ends, step / ends, label="equal effective step sizes", **{**BORDER, "zorder": 3})
        axes.set(
            title=f"ELR {rate:g}: {regime[rate].replace('_', ' ')}",
            xlabel="effective learning rate of a filter",
            ylabel="effective gradient norm",
            xscale="log",
            yscale="log",
        )
    limits = [axes.get_ylim() for axes in group.panels]
    spans = np.log10([high / low for low, high in limits])
    for axes, (low, high), span in zip(group.panels, limits, spans, strict=True):
        more = 10 ** ((spans.max() - span) / 2)  # as many powers of ten in each panel
        axes.set_ylim(low / more, high * more)
    told = "mean rate and root mean square of the norm, last fifth of the epochs"
    group.legend(told + of_one_seed(filters))


save_figure(draw, filters, folder, stamp)

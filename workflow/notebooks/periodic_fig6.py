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
# # Minima of different periods
# Lobacheva et al. 2021, Figure 6: cosine similarity of the scale-invariant weights and test error
# of the ensemble, of an anchor checkpoint and every later one, beside those with a checkpoint of
# an independent run.

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogFormatter

from perigee.plotting.output import save_figure
from perigee.plotting.similarity import draw_against_anchor, draw_single_network
from perigee.plotting.style import apply_style

PAIRS = {"convnet": "ConvNet", "resnet": "ResNet"}
ERRORS = ("ensemble_test_error", "independent_ensemble_test_error", "anchor_test_error")

apply_style()
compared = {name: pd.read_parquet(tables[name]) for name in PAIRS}
for table in compared.values():
    for column in ERRORS:
        table[f"{column}_percent"] = 100 * table[column]

# %%
figure, axes = plt.subplots(1, 4, figsize=(14.5, 3.6))
for (name, title), (weights, ensemble) in zip(PAIRS.items(), axes.reshape(2, 2), strict=True):
    table = compared[name]
    draw_against_anchor(weights, table, "cosine_similarity")
    weights.set(title=f"{title}: cosine similarity", xlabel="epoch")
    first = table[table["run"] == 0]
    draw_against_anchor(ensemble, first, "ensemble_test_error_percent")
    draw_single_network(ensemble, first, "anchor_test_error_percent")
    ensemble.set(title=f"{title}: ensemble test error, %", xlabel="epoch", yscale="log")
    ensemble.yaxis.set_major_formatter("{x:g}")
    ensemble.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
lines = [axis.get_legend_handles_labels() for axis in axes]
legend = {label: line for drawn in lines for line, label in zip(*drawn, strict=True)}
figure.legend(
    legend.values(), legend.keys(), title="checkpoint", loc="outside right center", frameon=False
)
plotted = pd.concat([table.assign(pair=name) for name, table in compared.items()])
save_figure(figure, plotted, folder, stamp)

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
import pandas as pd

from perigee.plotting.looks import seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.similarity import draw_against_anchor, draw_single_network
from perigee.plotting.style import apply_style

apply_style()
compared = {
    "ConvNet": pd.read_parquet(tables["convnet"]),
    "ResNet": pd.read_parquet(tables["resnet"]),
}


# %%
def draw(sheet):
    """Draw a pair of panels for each network; anchors of different seeds differ in their epoch."""
    for group, (network, table) in zip(sheet.groups(2, 2), compared.items(), strict=True):
        weights, ensemble = group.panels
        draw_against_anchor(weights, table, "cosine_similarity")
        weights.set_title(f"{network}: cosine similarity")
        draw_against_anchor(ensemble, table, "ensemble_test_error")
        draw_single_network(ensemble, table, "anchor_test_error")
        ensemble.set(title=f"{network}: ensemble test error, %", yscale="log")
        told = seeds_in_words(table, "first seed", band="band of similarity")
        group.legend(f"{network}, checkpoint{told}")


plotted = pd.concat([table.assign(pair=name) for name, table in compared.items()])
save_figure(draw, plotted, folder, stamp)

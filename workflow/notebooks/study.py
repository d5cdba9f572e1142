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
# # A sweep of one's own
# The standard panels that a file of `config/studies/` asks for: its runs by a swept key. The
# plotted table holds the metrics (`table` is "runs"), the statistics of periods ("periods") and,
# where asked for, the similarity with an anchor ("similarity").

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}
panels = []
settings = []

# %%
import pandas as pd

from perigee.plotting.output import save_figure
from perigee.plotting.panels import draw_panels
from perigee.plotting.style import apply_style

apply_style()
metrics = pd.read_parquet(tables["runs"])
periods = pd.read_parquet(tables["periods"])
similarity = pd.read_parquet(tables["similarity"]) if "similarity" in tables else None


# %%
def draw(sheet):
    """Draw the panels asked for."""
    draw_panels(sheet, metrics, periods, panels, settings, similarity)


every = {"runs": metrics, "periods": periods, "similarity": similarity}
plotted = pd.concat([rows.assign(table=name) for name, rows in every.items() if rows is not None])
save_figure(draw, plotted, folder, stamp)

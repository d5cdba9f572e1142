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
# # Periodic behaviour with more practical modifications
# Lobacheva et al. 2021, Figure 7: a wide ConvNet with one modification at a time (left), and with
# all of them at several learning rates (right pair).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import apply_style
from perigee.plotting.trajectories import draw_over_epochs

apply_style()
single, together = (pd.read_parquet(tables[name]) for name in ("single", "together"))


# %%
def draw(sheet):
    """Draw one seed, since periods of different seeds are not in phase."""
    left, right = sheet.groups(1, 2, widths=(1.5, 1, 1))

    looks = Looks.of(single, ["label"])
    (one,) = left.panels
    draw_over_epochs(one, single, "train_loss", looks, of="One modification at a time")
    rates = ", ".join(f"{rate:g}" for rate in single["learning_rate"].unique())
    title = f"learning rate {rates}" + seeds_in_words(single, "first seed")
    left.legend(title, looks.legend(single))

    looks = Looks.of(together, ["optimiser.learning_rate"])
    for axes, quantity in zip(right.panels, ("train_loss", "test_error"), strict=True):
        draw_over_epochs(axes, together, quantity, looks, of="All modifications")
    title = "learning rate" + seeds_in_words(together, "first seed")
    right.legend(title, looks.legend(together))


plotted = pd.concat([single, together], keys=["single", "together"], names=["panels"])
save_figure(draw, plotted.reset_index("panels"), folder, stamp)

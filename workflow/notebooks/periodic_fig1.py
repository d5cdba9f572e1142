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
# # Periodic behaviour of standard networks
# Lobacheva et al. 2021, Figure 1: train loss and test error of a ConvNet and of a ResNet-18 all of
# whose weights are trained.

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
metrics = {
    "ConvNet": pd.read_parquet(tables["convnet"]),
    "ResNet-18": pd.read_parquet(tables["resnet18"]),
}


# %%
def draw(sheet):
    """Draw a pair of panels for each network; periods of different seeds are not in phase."""
    for group, (network, shown) in zip(sheet.groups(2, 2), metrics.items(), strict=True):
        looks = Looks.of(shown, ["optimiser.learning_rate"])
        for axes, quantity in zip(group.panels, ("train_loss", "test_error"), strict=True):
            draw_over_epochs(axes, shown, quantity, looks, of=network)
        title = f"{network}, learning rate" + seeds_in_words(shown, "first seed")
        group.legend(title, looks.legend(shown))


plotted = pd.concat(metrics, names=["network"]).reset_index("network")
save_figure(draw, plotted, folder, stamp)

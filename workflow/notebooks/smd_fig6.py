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
# # Test accuracy and angular update in four stages of the learning rate
# Wan et al. 2021, Figure 6: a residual network trained by SGD with momentum, by the same with
# weights rescaled at each decay, by Adam and by AdamW. In the place of accuracies their errors are
# drawn, whose logarithm shows drops of a percentage point beside those of the first epochs.

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
runs = pd.read_parquet(tables["runs"])
courses = pd.read_parquet(tables["courses"])
looks = Looks.of(runs, ["label"])


# %%
def draw(sheet):
    """Draw errors, train loss and the angular update of one layer."""
    (layer,) = courses["layer"].unique()
    (group,) = sheet.groups(4)
    *metrics, angle = group.panels
    names = ("train_error", "test_error", "train_loss")
    for axes, quantity in zip(metrics, names, strict=True):
        draw_over_epochs(axes, runs, quantity, looks, "mean")
    draw_over_epochs(angle, courses, "angular_update", looks, "mean", of=layer, along="step")
    group.legend("optimiser" + seeds_in_words(runs, "mean", band="band"), looks.legend(runs))


save_figure(draw, runs, folder, stamp)

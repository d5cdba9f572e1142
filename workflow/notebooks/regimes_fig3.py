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
# # The first regime: sharpness and generalisation at equal train losses
# Kodryan et al. 2022, Figure 3: mean effective gradient norm and test error against train loss, for
# fixed effective learning rates from the initialisation (left pair), and for fine-tuning with a
# lower and a higher one (right pair).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.style import CATEGORIES, apply_style, in_words
from perigee.plotting.trajectories import draw_against_loss

apply_style()
runs = pd.read_parquet(tables["runs"])
KEY = "optimiser.effective_learning_rate"
BEFORE = f"parent.run.{KEY}"
starts, forks = runs[runs[BEFORE].isna()], runs[runs[BEFORE].notna()]
(before,) = forks[BEFORE].unique()
rates = sorted(forks[KEY].unique())


def named(rows, words):
    """Return the rows with words and their rate in a column."""
    return rows.assign(course=words + " " + rows[KEY].map(in_words))


fine_tuned = pd.concat(
    [
        named(starts[starts[KEY] == before], "before fine-tuning:"),
        *(named(forks[forks[KEY] == rate], "fine-tuned with") for rate in rates),
        *(named(starts[starts[KEY] == rate], "from the start:") for rate in rates),
    ]
)
names = list(dict.fromkeys(fine_tuned["course"]))
colours = dict(
    zip(names, (CATEGORIES[4], *CATEGORIES[:2], *CATEGORIES[5:6], CATEGORIES[3]), strict=False)
)


# %%
def draw(sheet):
    """Draw one seed, since trajectories of several would cover each other."""
    parts = (
        ("effective learning rate", starts, Looks.of(starts, [KEY])),
        ("effective learning rate", fine_tuned, Looks.of(fine_tuned, ["course"], colours)),
    )
    for group, (title, rows, looks) in zip(sheet.groups(2, 2), parts, strict=True):
        for axes, quantity in zip(
            group.panels, ("effective_gradient_norm", "test_error"), strict=True
        ):
            draw_against_loss(axes, rows, quantity, looks)
        group.legend(title + seeds_in_words(rows, "first seed"), looks.legend(rows))


save_figure(draw, runs, folder, stamp)

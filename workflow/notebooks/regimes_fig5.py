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
# # The second regime: fine-tuning with other effective learning rates
# Kodryan et al. 2022, Figure 5: from runs of the second regime on with another rate of the second
# regime (left: train loss; dashed, the levels of these rates from the start) and of the first
# (right: mean effective gradient norm and test error against train loss).

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
import pandas as pd

from perigee.plotting.looks import Looks, first_seed, seeds_in_words
from perigee.plotting.output import save_figure
from perigee.plotting.regimes import BORDER
from perigee.plotting.style import apply_style, in_words
from perigee.plotting.trajectories import draw_against_loss, draw_over_epochs

apply_style()
KEY = "optimiser.effective_learning_rate"
BEFORE = f"parent.run.{KEY}"
levels, minima, tuning = (
    pd.read_parquet(tables[name]) for name in ("levels", "minima", "level_tuning")
)
fine_tuned = levels[levels[BEFORE].notna()]
late = first_seed(tuning[~tuning["is_fork"]]).set_index(KEY)["late_train_loss"]
flattest = minima[minima[BEFORE].isna()]
flattest = flattest[flattest[KEY] == flattest[KEY].max()]


# %%
def draw(sheet):
    """Draw a panel of losses per rate before fine-tuning, and two of profiles per such rate."""
    before = sorted(fine_tuned[BEFORE].unique())
    left, *right = sheet.groups(len(before), *(2 for _ in before))
    looks = Looks.of(fine_tuned, [KEY])
    for axes, rate in zip(left.panels, before, strict=True):
        rows = fine_tuned[fine_tuned[BEFORE] == rate]
        draw_over_epochs(axes, rows, "train_loss", looks, of=f"On from ELR {in_words(rate)}")
        for value, colour in looks.colours.items():
            axes.axhline(late[value], **{**BORDER, "color": colour})
    told = seeds_in_words(fine_tuned, "first seed")
    left.legend(f"fine-tuned with; dashed: level from the start{told}", looks.legend(fine_tuned))
    for group, rate in zip(right, before, strict=True):
        on = minima[minima[BEFORE] == rate]
        rows = pd.concat(
            [
                flattest.assign(course="from the start: " + flattest[KEY].map(in_words)),
                on.assign(course="fine-tuned with " + on[KEY].map(in_words)),
            ]
        )
        looks_on = Looks.of(rows, ["course"], {rows["course"].iloc[0]: "black"})
        for axes, quantity in zip(
            group.panels, ("effective_gradient_norm", "test_error"), strict=True
        ):
            draw_against_loss(axes, rows, quantity, looks_on)
        group.legend(
            f"on from ELR {in_words(rate)}" + seeds_in_words(rows, "first seed"),
            looks_on.legend(rows),
        )


plotted = pd.concat([levels, minima], keys=["levels", "minima"], names=["panels"])
save_figure(draw, plotted.reset_index("panels"), folder, stamp)

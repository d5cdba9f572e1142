"""The main text of Kodryan et al. 2022 at smoke scale: every figure, and what must hold in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.timeout(1500)  # one test waits until all figures are made

KEYS = [f"regimes_fig{number}" for number in range(1, 8)]
RATE = "optimiser.effective_learning_rate"
BEFORE = f"parent.run.{RATE}"
EPOCHS, FORKS_EPOCHS = 3, 2
"""The epochs of runs and of their forks at smoke scale, as in config/."""


def plotted(all_figures: Path, key: str) -> pd.DataFrame:
    return pd.read_csv(all_figures / f"{key}.csv")


def test_every_file_of_every_figure_is_there(all_figures: Path) -> None:
    endings = ("_paper_width.pdf", ".pdf", ".png", ".csv", ".ipynb")
    expected = {f"{key}{ending}" for key in KEYS for ending in endings}
    assert {path.name for path in all_figures.glob("regimes_*")} == expected
    for name in expected:
        assert (all_figures / name).stat().st_size > 0


def test_the_stamp_names_scale_and_deviations(all_figures: Path) -> None:
    notebook = (all_figures / "regimes_fig1.ipynb").read_text()
    for part in ("smoke", "epochs 3 (paper: 1000)", "dataset digits (paper: cifar10)"):
        assert part in notebook
    assert "effective learning rate 0.005, 0.02, 0.1 (paper: 1e-07, 2e-07" in notebook
    assert "paper: " not in (all_figures / "regimes_fig2.ipynb").read_text()


@pytest.mark.parametrize(
    ("key", "rates"),
    [
        ("regimes_fig1", {0.005, 0.02, 0.1}),
        ("regimes_fig3", {0.002, 0.003, 0.005, 0.008}),
        ("regimes_fig5", {0.002, 0.003, 0.005, 0.02, 0.03}),
        ("regimes_fig6", {0.005, 0.01, 0.02, 0.03, 0.05, 0.1}),
    ],
)
def test_the_effective_learning_rate_is_the_swept_one_in_every_epoch(
    key: str, rates: set[float], all_figures: Path
) -> None:
    table = plotted(all_figures, key)
    assert set(table[RATE]) == rates
    np.testing.assert_allclose(table["effective_learning_rate"], table[RATE], rtol=1e-4)
    # One sphere for all runs, since there is one seed.
    assert table["seed"].nunique() == 1
    norms = table["weight_norm"]
    np.testing.assert_allclose(norms, norms.iloc[0], rtol=1e-4)
    np.testing.assert_allclose(table["learning_rate"], table[RATE] * norms.iloc[0] ** 2, rtol=1e-4)


def test_runs_of_fig1_start_alike_and_learn(all_figures: Path) -> None:
    table = plotted(all_figures, "regimes_fig1")
    by_epoch = table.pivot(index="epoch", columns=RATE, values="train_loss")
    assert list(by_epoch.index) == list(range(EPOCHS + 1))
    assert by_epoch.loc[0].nunique() == 1
    assert by_epoch.loc[1].nunique() == 3
    assert by_epoch.loc[EPOCHS, 0.005] < by_epoch.loc[0, 0.005] / 2


@pytest.mark.parametrize(
    ("key", "panels", "at", "forks"),
    [
        ("regimes_fig3", None, 2, {(0.005, 0.003), (0.005, 0.008)}),
        ("regimes_fig5", "levels", EPOCHS, {(0.02, 0.03), (0.03, 0.02)}),
        (
            "regimes_fig5",
            "minima",
            EPOCHS,
            {(before, rate) for before in (0.02, 0.03) for rate in (0.002, 0.003, 0.005)},
        ),
    ],
)
def test_forks_start_at_an_epoch_of_their_parent_with_its_loss(
    key: str, panels: str | None, at: int, forks: set[tuple[float, float]], all_figures: Path
) -> None:
    whole = plotted(all_figures, key)
    starts = whole[whole[BEFORE].isna()]
    assert set(starts["fork_epoch"]) == {0}
    there = starts[starts["epoch"] == at].groupby(RATE)[["train_loss", "test_loss"]].first()
    rows = whole if panels is None else whole[whole["panels"] == panels]
    found = dict(iter(rows[rows[BEFORE].notna()].groupby([BEFORE, RATE])))
    assert set(found) == forks
    for (before, _), fork in found.items():
        assert set(fork["fork_epoch"]) == {at}
        assert list(fork["epoch"]) == list(range(FORKS_EPOCHS + 1))
        for loss in ("train_loss", "test_loss"):
            assert fork[loss].iloc[0] == pytest.approx(there.loc[before, loss], rel=1e-6)
        assert fork["train_loss"].iloc[-1] != fork["train_loss"].iloc[0]


def test_fig4_has_every_filter_of_each_run_with_numbers(all_figures: Path) -> None:
    table = plotted(all_figures, "regimes_fig4")
    assert set(table[RATE]) == {0.005, 0.02}
    for rate, run in table.groupby(RATE):
        assert list(run["group"]) == list(range(4 + 8 + 16 + 32)), "of a ConvNet of width 4"
        assert list(run.groupby("layer", sort=False)["group"].count()) == [4, 8, 16, 32]
        assert run["is_filter"].all()
        numbers = run.filter(regex=r"^(weight_norm|gradient_norm|effective_|total_)")
        assert numbers.shape[1] == 12
        assert np.isfinite(numbers.to_numpy(float)).all()
        assert (numbers > 0).all(axis=None)
        np.testing.assert_allclose(run["total_effective_learning_rate"], rate, rtol=1e-4)
        # Eq. (4), of means over steps
        together = 1 / (1 / run["effective_learning_rate"]).sum()
        assert together == pytest.approx(rate, rel=1e-2)


def test_fig7_has_both_networks(all_figures: Path) -> None:
    table = plotted(all_figures, "regimes_fig7")
    networks = table.groupby("panels")["model.name"].unique().map(list).to_dict()
    assert networks == {"constant": ["resnet18"], "cosine": ["resnet18"], "decayed": ["convnet"]}
    by_panel = dict(iter(table.groupby("panels")))
    decayed, cosine = by_panel["decayed"], by_panel["cosine"]
    assert decayed["model.scale_invariant"].all()
    assert not cosine["model.scale_invariant"].any()
    assert set(decayed["optimiser.learning_rate"]) == {0.1, 0.3, 3}
    assert (decayed["effective_learning_rate"].groupby(decayed["run"]).nunique() > 1).all()
    assert np.isfinite(by_panel["constant"]["full_gradient_norm"]).all()
    factors = cosine["learning_rate"] / cosine["optimiser.learning_rate"]
    np.testing.assert_allclose(factors.groupby(cosine["epoch"]).mean(), [1, 0.5, 0], atol=1e-6)

"""The main text of Lobacheva et al. 2021 at smoke scale, whole: see also test_regimes_text.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.workspace import Workspace

pytestmark = pytest.mark.timeout(1500)  # one test waits until all figures are made


def plotted(all_figures: Path, key: str) -> pd.DataFrame:
    return pd.read_csv(all_figures / f"{key}.csv")


def test_every_figure_is_there(all_figures: Path) -> None:
    for number in range(1, 8):
        for suffix in ("pdf", "png", "csv", "ipynb"):
            assert (all_figures / f"periodic_fig{number}.{suffix}").stat().st_size > 0


def test_the_stamp_names_scale_and_deviations(all_figures: Path) -> None:
    notebook = (all_figures / "periodic_fig3.ipynb").read_text()
    for part in ("smoke", "dataset digits (paper: cifar10)", "width 4 (paper: 32)"):
        assert part in notebook
    assert "paper: " not in (all_figures / "periodic_fig2.ipynb").read_text()


def test_pairs_of_fig6_are_of_two_networks(all_figures: Path) -> None:
    table = plotted(all_figures, "periodic_fig6")
    means = table.groupby("pair")["anchor_test_error"].mean()
    assert set(means.index) == {"ConvNet", "ResNet"}
    assert means["ConvNet"] != means["ResNet"]


def test_both_networks_of_fig1_train_at_each_rate(all_figures: Path) -> None:
    table = plotted(all_figures, "periodic_fig1")
    assert set(table["network"]) == {"ConvNet", "ResNet-18"}
    for _, of_network in table.groupby("network"):
        assert set(of_network["optimiser.learning_rate"]) == {0.1, 0.3}
        first, last = (of_network[of_network["epoch"] == epoch] for epoch in (0, 4))
        assert last["train_loss"].mean() < first["train_loss"].mean()


def test_norms_of_fig5_stay_where_they_are_fixed(all_figures: Path) -> None:
    table = plotted(all_figures, "periodic_fig5")
    at_start = table[table["panels"] == "initialisation"]
    assert np.allclose(at_start["weight_norm"], at_start["constraint.norm"], rtol=1e-4)
    forks = table[table["panels"] == "forks"].set_index("label")
    free = forks.loc["free norm"].set_index("epoch")
    for label, fork_epoch in (("fixed long before", 1), ("fixed shortly before", 2)):
        fork = forks.loc[label]
        assert set(fork["fork_epoch"]) == {fork_epoch}
        assert list(fork["epoch"]) == [fork_epoch + epoch for epoch in range(4)]
        assert np.allclose(fork["weight_norm"], free["weight_norm"][fork_epoch], rtol=1e-4)
        assert fork["train_loss"].iloc[0] == pytest.approx(free["train_loss"][fork_epoch], rel=1e-4)


def test_modifications_of_fig7_begin_alike_and_part(all_figures: Path) -> None:
    table = plotted(all_figures, "periodic_fig7")
    single = table[table["panels"] == "single"].set_index(["label", "epoch"])["train_loss"]
    labels = {"none", "all weights trained", "momentum", "augmentation"}
    labels |= {"augmentation, standard width"}
    assert set(single.index.get_level_values("label")) == labels
    # The same initial weights; a head that is trained is not rescaled before.
    assert single["none", 0] == single["momentum", 0] == single["augmentation", 0]
    assert single["none", 0] != single["all weights trained", 0]
    assert len({single[label, 4] for label in labels}) == len(labels)
    together = table[table["panels"] == "together"]
    assert set(together["optimiser.learning_rate"]) == {0.03, 0.1, 0.3, 3.0}


def test_every_claim_is_judged(all_figures: Path) -> None:
    """Here by what runs at smoke scale have; no test but this judges all papers' claims."""
    workspace = Workspace(all_figures.parents[2])
    workspace.make("claims")
    judged = pd.read_csv(workspace.root / "results/smoke/claims.csv")
    assert set(judged["paper"]) >= {"periodic", "regimes", "smd"}
    assert judged["verdict"].notna().all()

"""A sweep of one's own from its file to the report."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import image

from support.workspace import Workspace

KEY = "study_label_smoothing"
SMOOTHING = "loss.label_smoothing"


@pytest.fixture(scope="module")
def studied(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All smoke figures, and then the example's for real."""
    workspace = finished.copy(tmp_path_factory.mktemp("studied") / "workspace")
    workspace.make(KEY)
    return workspace


def test_nothing_trains_it_unasked(finished: Workspace) -> None:
    assert finished.jobs("everything") == set()
    program = ("python", "-m", "perigee", "plan", "--scale", "smoke")
    assert KEY not in finished.by_hand(*program).stdout
    printed = finished.by_hand(*program, KEY).stdout
    (row,) = [line for line in printed.splitlines() if f" {KEY} " in line]
    # The run without smoothing is one of periodic_fig3.
    assert [cell.strip() for cell in row.strip("│").split("│")][1:3] == ["2", "8"]


def test_its_figure_shows_every_run(studied: Workspace) -> None:
    folder = studied.root / "results/smoke/figures"
    assert min(image.imread(folder / f"{KEY}.png").shape[:2]) > 400
    plotted = pd.read_csv(folder / f"{KEY}.csv")
    runs = plotted[plotted["table"] == "runs"]
    assert set(runs[SMOOTHING]) == {0, 0.1, 0.3}
    for smoothing, run in runs.groupby(SMOOTHING):
        assert run["epoch"].tolist() == list(range(5)), smoothing
    assert len(plotted[plotted["table"] == "periods"]) == 3
    # Smoothed labels cannot be predicted without a loss.
    assert runs.groupby(SMOOTHING)["train_loss"].min().is_monotonic_increasing
    notebook = (folder / f"{KEY}.ipynb").read_text()
    assert "label_smoothing: Does label smoothing delay" in notebook
    assert "deviations" not in notebook


def test_from_then_on_it_is_reported(studied: Workspace) -> None:
    assert f"judge_claims {KEY}" in studied.jobs("everything")
    assert "train_run" not in " ".join(studied.jobs("everything"))
    studied.make("report")
    smoke = studied.root / "results/smoke"
    claims = pd.read_csv(smoke / "claims.csv", keep_default_na=False)
    (row,) = (row for row in claims.itertuples() if row.figure == "label_smoothing")
    assert row.paper == "study"
    assert "config/studies/label_smoothing.yaml" in row.source
    assert row.verdict == "not testable at this scale"
    provenance = (smoke / "pages/provenance.html").read_text()
    assert f"{KEY}: Does label smoothing delay the first destabilisation?" in provenance
    report = (smoke / "report.html").read_text()
    assert f"{KEY}.png" in report
    assert "Sweeps of one" in report
    assert studied.jobs("everything") == set()


def test_its_products_are_kept_and_known(studied: Workspace) -> None:
    listed = studied.by_hand("python", "-m", "perigee", "store", "list", "--figure", KEY)
    assert listed.returncode == 0, listed.stdout
    assert re.search(rf"^ *figure +{KEY}-", listed.stdout, re.M)
    cleaned = studied.by_hand("python", "-m", "perigee", "store", "clean")
    assert cleaned.returncode == 0
    assert "no figure refers to it" not in cleaned.stdout


def test_a_value_more_trains_one_run(studied: Workspace, tmp_path: Path) -> None:
    workspace = studied.copy(tmp_path / "workspace")
    workspace.edit_yaml(
        "config/studies/label_smoothing.yaml",
        lambda study: study["sweep"][SMOOTHING].update(most=0.5),
    )
    trained = {job for job in workspace.jobs("everything") if "train_run" in job}
    assert len(trained) == 1

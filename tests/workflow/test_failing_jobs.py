"""A failing job is named and delays nothing else; a diverged run is a result."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from support.workspace import EPOCHS, Workspace, show_rates


def leave_fig3(study: dict[str, Any], rates: list[float]) -> None:
    """Beside fig2, which trains nothing."""
    study["figures"] = {key: study["figures"][key] for key in ("fig2", "fig3")}
    show_rates(study, *rates)


@pytest.fixture
def fresh(workspace: Workspace) -> Workspace:
    """With fig2 to be drawn anew, and fig3 with two runs that were never trained."""
    workspace.edit_paper(lambda study: leave_fig3(study, [0.2, 0.4]))
    notebook = workspace.root / "workflow/notebooks/periodic_fig2.py"
    notebook.write_text(notebook.read_text() + "\n# %% [markdown]\n# Drawn anew.\n")
    return workspace


def fig2_was_drawn(workspace: Workspace) -> bool:
    drawn = (workspace.root / "results/smoke/figures/periodic_fig2.ipynb").read_text()
    return "Drawn anew." in drawn


def test_one_broken_run_holds_nothing_else_up_and_is_named_at_the_end(fresh: Workspace) -> None:
    fresh.hook("train", "fail", message="broken\nhere", learning_rate=0.4)
    result = fresh.snakemake("periodic", options=("--keep-going",))
    assert result.returncode != 0
    runs = fresh.root / "results/store/run"
    assert list(runs.glob(f"*-lr0.2-*/e{EPOCHS}/losses.npy"))
    assert not list(runs.glob(f"*-lr0.4-*/e{EPOCHS}/losses.npy"))
    assert fig2_was_drawn(fresh)

    (log,) = fresh.root.glob(f"results/logs/train_run/*-lr0.4-*/e{EPOCHS}.1.log")
    run = f"{log.parent.name}/e{EPOCHS}"
    where = log.relative_to(fresh.root)
    told = f"perigee train: results/store/run/{run}: ValueError: broken here (log: {where})"
    lines = result.stdout.splitlines()
    assert told in lines, "by the program"
    assert lines.count(f"failed: {told}") == 1, "by the workflow"
    assert len(lines) - lines.index(f"failed: {told}") <= 6, "at its end"
    logged = log.read_text()
    assert logged.splitlines()[-1].endswith(told)
    assert "Traceback" in logged

    shown = fresh.by_hand("python", "-m", "perigee", "status", "periodic_fig3", "--scale", "smoke")
    lines = shown.stdout.splitlines()
    assert lines[0] == "2 runs at smoke scale: 1 done, 1 failed."
    start = lines.index(f"failed       {run}")
    assert lines[start + 1 : start + 3] == [
        "             ValueError: broken here",
        f"             log: {where}",
    ]


def test_a_data_file_that_was_changed_fails_the_runs_that_need_it(fresh: Workspace) -> None:
    """One byte is changed, which only reading the file shows."""
    data = fresh.store("dataset/digits-*/data.safetensors")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    result = fresh.snakemake("periodic", options=("--keep-going",))
    assert result.returncode != 0
    failed = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    for rate, line in zip(("0.2", "0.4"), sorted(failed), strict=True):
        assert line.startswith(f"failed: perigee train: results/store/run/convnet-digits-lr{rate}-")
        assert f"{data.relative_to(fresh.root)} has a wrong checksum" in line
        assert "delete its folder" in line
    assert fig2_was_drawn(fresh)


def test_a_declaration_that_is_wrong_is_refused_before_training(workspace: Workspace) -> None:
    def train_all_weights(study: dict[str, Any]) -> None:
        leave_fig3(study, [0.2])
        study["runs"]["si_convnet"]["model"]["scale_invariant"] = False

    workspace.edit_paper(train_all_weights)
    workspace.hook("train", "declare_wrongly", weight="head.weight")
    result = workspace.snakemake("periodic_fig3")
    assert result.returncode != 0
    (told,) = (line for line in result.stdout.splitlines() if line.startswith("perigee train: "))
    assert "ConvNet declares 'head.weight' scale-invariant" in told
    assert "epoch 0/" not in result.stdout
    assert "Traceback" not in result.stdout


def test_a_run_whose_loss_is_not_finite_is_a_result(workspace: Workspace) -> None:
    def diverge(study: dict[str, Any]) -> None:
        leave_fig3(study, [0.1, 1e10])
        study["runs"]["si_convnet"]["model"]["scale_invariant"] = False

    workspace.edit_paper(diverge)
    assert "; stopped: the loss of step" in workspace.make("periodic_fig3")
    figure = workspace.root / "results/smoke/figures/periodic_fig3"
    plotted = pd.read_csv(figure.with_suffix(".csv"))
    stopped = plotted[plotted["stopped"]]
    assert stopped["optimiser.learning_rate"].unique().tolist() == [1e10]
    assert np.isfinite(stopped["train_loss"]).tolist() == [True, False]
    # One finite point makes no line: the run's colour is in the first panel by the cross alone.
    pixels = image.imread(figure.with_suffix(".png"))
    lightest = mpl.colormaps["viridis"](0.85)[:3]
    first_panel = pixels[:, : pixels.shape[1] // 5, :3]
    assert (np.abs(first_panel - lightest).max(axis=-1) < 0.01).sum() > 20

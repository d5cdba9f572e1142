"""A run that starts from another's checkpoint, through the whole workflow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.workspace import EPOCHS, Workspace, figure_jobs, sweep_of

FORK_AT = 2
PARENT = f"convnet-digits-lr0.3-wd0.01-seed10/e{EPOCHS}"
CHILD = f"convnet-digits-lr0.3-wd0.01-seed10-fork-at_epoch/e{EPOCHS}"


def show_fork(study: dict[str, Any], at: dict[str, Any], **changes: Any) -> None:
    """Figure 3 shows a run that starts from what was its own of learning rate 0.3."""
    parent = {"run": "si_convnet", "epochs": EPOCHS, "at": at}
    study["runs"]["fork"] = {"parent": parent, **changes}
    study["figures"] = {"fig3": study["figures"]["fig3"] | {"claims": {}}}
    sweep = sweep_of(study)
    sweep["run"] = "fork"
    sweep["sweep"] = {"optimiser.learning_rate": [0.3], "seed": [10]}


def test_a_fork_waits_for_its_parent_and_starts_from_its_checkpoint(workspace: Workspace) -> None:
    at = {"name": "at_epoch", "epoch": FORK_AT}
    workspace.edit_paper(lambda study: show_fork(study, at, constraint={"name": "fixed_norm"}))
    # The finished parent is trained again for its checkpoints.
    drawn = figure_jobs("fig3")
    assert workspace.jobs() == {f"train_run {PARENT}", f"train_run {CHILD}"} | drawn
    printed = workspace.make()
    assert "is trained again to measure checkpoints" in printed
    assert f"starting from epoch {FORK_AT} of results/store/run/" in printed
    assert workspace.jobs() == set()

    child = workspace.store(f"run/*-fork-at_epoch-*/e{EPOCHS}")
    parent = workspace.store(f"run/convnet-digits-lr0.3-wd0.01-seed10-[0-9a-f][0-9a-f]*/e{EPOCHS}")
    provenance = json.loads((child / "provenance.json").read_text())
    assert provenance["details"]["fork_epoch"] == FORK_AT
    assert parent.parent.name.endswith(provenance["inputs"]["parent"])
    # At epoch 0 the child is what the parent was at the epoch of the fork.
    own, parents = (np.load(next(folder.glob("metrics-*/rows.npy"))) for folder in (child, parent))
    for column in ("train_loss", "test_error", "weight_norm", "gradient_norm"):
        assert own[column][0] == pytest.approx(parents[column][FORK_AT], rel=1e-5)
    assert own["weight_norm"] == pytest.approx(own["weight_norm"][0], rel=1e-5)

    workspace.edit_paper(lambda study: sweep_of(study).update(epochs=EPOCHS - 1))
    assert workspace.jobs() == drawn, "read off the longer fork"
    workspace.make()
    plotted = pd.read_csv(workspace.root / "results/smoke/figures/periodic_fig3.csv")
    assert set(plotted["fork_epoch"]) == {FORK_AT}


def test_a_fork_that_cannot_be_resolved_tells_the_parents_periods(workspace: Workspace) -> None:
    rule = {"name": "before_destabilisation", "epochs": 1, "number": 2}
    workspace.edit_paper(lambda study: show_fork(study, rule))
    result = workspace.snakemake("periodic_fig3")
    assert result.returncode != 0
    (told,) = (line for line in result.stdout.splitlines() if line.startswith("perigee train: "))
    assert "before destabilisation 2 of its parent, but it has no destabilisation" in told
    assert "Traceback" not in result.stdout

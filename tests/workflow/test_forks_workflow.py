"""A run that starts from another's checkpoint, through the whole workflow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workspace import EPOCHS, Workspace, sweep_of

FORK_AT = 2
PARENT = f"convnet-digits-lr0.3-wd0.01-seed0/e{EPOCHS}"
CHILD = f"convnet-digits-lr0.3-wd0.01-seed0-fork-at_epoch/e{EPOCHS}"


def add_fork(study: dict[str, Any], at: dict[str, Any]) -> None:
    """appF1 shows a run on the sphere that starts from fig3's run of learning rate 0.3."""
    study["runs"]["fork"] = {
        "parent": {"run": "si_convnet", "epochs": EPOCHS, "at": at},
        "norm_control": {"name": "fixed"},
    }
    sweep = sweep_of(study, "appF1")
    sweep["base"] = "fork"
    sweep["sweep"] = {"optimiser.learning_rate": [0.3], "seed": [0]}
    study["figures"]["appF1"]["claims"] = {}


@pytest.fixture
def forked(workspace: Workspace) -> Workspace:
    workspace.edit_study(lambda study: add_fork(study, {"name": "at_epoch", "epoch": FORK_AT}))
    return workspace


def trajectory(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    rows = np.load(folder / "trajectory.npy")
    return rows, json.loads((folder / "trajectory.json").read_text())


def test_a_fork_waits_for_its_parent_and_starts_from_its_checkpoint(forked: Workspace) -> None:
    # The parent is trained once more, with its checkpoints; fig3 keeps the version it has.
    assert forked.jobs() == {
        f"train_run {PARENT}-every1",
        f"train_run {CHILD}",
        "make_table periodic_appF1-runs",
        "draw_figure periodic_appF1",
        "publish_figure periodic_appF1",
    }
    forked.make()
    assert forked.jobs() == set()
    store = forked.root / "results/store/run"
    (parent,) = store.glob(f"convnet-digits-lr0.3-wd0.01-seed0-*/e{EPOCHS}-every1")
    (child,) = store.glob(f"*-fork-at_epoch-*/e{EPOCHS}")
    for name in ("metrics", "steps"):
        kept = pd.read_parquet(parent / f"{name}.parquet")
        plain = pd.read_parquet(parent.with_name(f"e{EPOCHS}") / f"{name}.parquet")
        pd.testing.assert_frame_equal(kept, plain, check_exact=True)
    # At epoch 0 the child is what the parent was at the epoch of the fork.
    own, parents = (pd.read_parquet(f / "metrics.parquet") for f in (child, parent))
    for column in ("train_loss", "test_error", "weight_norm", "gradient_norm"):
        assert own[column].iloc[0] == pytest.approx(parents[column].iloc[FORK_AT], rel=1e-5)
    assert own["weight_norm"].to_numpy() == pytest.approx(own["weight_norm"].iloc[0], rel=1e-5)
    provenance = json.loads((child / "provenance.json").read_text())
    assert provenance["details"]["fork_epoch"] == FORK_AT
    digest = json.loads((parent / "provenance.json").read_text())["digest"]
    assert provenance["inputs"]["parent"] == digest


def test_a_shorter_fork_read_off_knows_where_it_started(forked: Workspace) -> None:
    forked.make()

    def shorter(study: dict[str, Any]) -> None:
        sweep_of(study, "appF1")["epochs"] = EPOCHS - 1

    forked.edit_study(shorter)
    assert f"read_off_run {CHILD.replace(f'e{EPOCHS}', f'e{EPOCHS - 1}')}" in forked.jobs()
    forked.make()
    (version,) = forked.root.glob(f"results/store/run/*-fork-at_epoch-*/e{EPOCHS - 1}")
    details = json.loads((version / "provenance.json").read_text())["details"]
    assert details["fork_epoch"] == FORK_AT
    tables = forked.root.glob("results/store/table/periodic_appF1-runs-*/table.parquet")
    table = max(tables, key=lambda path: path.stat().st_mtime)
    assert set(pd.read_parquet(table)["fork_epoch"]) == {FORK_AT}


def test_a_plain_version_is_read_off_the_one_with_checkpoints(forked: Workspace) -> None:
    """Where both are asked for and neither is there, one is trained."""
    for folder in forked.root.glob("results/store/run/convnet-digits-lr0.3-*"):
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def another_rate(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = [0.3]

    forked.edit_study(another_rate)
    runs = {job for job in forked.jobs() if "_run " in job}
    assert runs == {f"train_run {PARENT}-every1", f"read_off_run {PARENT}", f"train_run {CHILD}"}
    forked.make("periodic_fig3")
    (version,) = forked.root.glob(f"results/store/run/convnet-digits-lr0.3-*/e{EPOCHS}")
    assert len(pd.read_parquet(version / "metrics.parquet")) == EPOCHS + 1


def test_fewer_checkpoints_are_read_off_a_parent_still_to_be_trained(forked: Workspace) -> None:
    """fig6 asks for every second checkpoint of the parent, of which the fork needs every one."""

    def compare_parents(study: dict[str, Any]) -> None:
        (sweep,) = study["figures"]["fig6"]["tables"]["convnet"]["runs"]
        sweep["set"]["optimiser.learning_rate"]["smoke"] = 0.3
        sweep["keep_every"] = 2

    forked.edit_study(compare_parents)
    runs = {job for job in forked.jobs() if re.match("(train|read_off)_run ", job)}
    assert runs == {
        f"train_run {PARENT}-every1",
        f"read_off_run {PARENT}-every2",
        f"train_run {PARENT.replace('seed0', 'seed1')}-every2",
        f"train_run {CHILD}",
    }


def test_a_fork_that_cannot_be_resolved_tells_the_parents_periods(workspace: Workspace) -> None:
    rule = {"name": "before_destabilisation", "epochs": 1, "number": 2}
    workspace.edit_study(lambda study: add_fork(study, rule))
    result = workspace.snakemake("periodic_appF1")
    assert result.returncode != 0
    told = [line for line in result.stdout.splitlines() if line.startswith("train.py: ")]
    assert len(told) == 1
    assert "before destabilisation 2 of its parent, but it has no destabilisation" in told[0]
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        pytest.param("nobody", "'runs.fork.parent.run' is 'nobody'.*si_convnet", id="not there"),
        pytest.param("fork", "'runs.fork.parent.run' is 'fork'.*fork from fork", id="itself"),
    ],
)
def test_a_parent_is_another_entry(workspace: Workspace, parent: str, said: str) -> None:
    def wrong(study: dict[str, Any]) -> None:
        add_fork(study, {"name": "at_epoch", "epoch": 1})
        study["runs"]["fork"]["parent"]["run"] = parent

    workspace.edit_study(wrong)
    result = workspace.snakemake("periodic_appF1", options=("-n",))
    assert result.returncode != 0
    assert re.search(f"Error: .*{said}", result.stdout)

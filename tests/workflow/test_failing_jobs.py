"""What fails is named and holds nothing else up; what diverges is a result."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from support.workspace import Workspace, sweep_of


def leave_fig3(study: dict[str, Any], rates: list[float]) -> None:
    """Beside fig2, which trains nothing."""
    study["figures"] = {key: study["figures"][key] for key in ("fig2", "fig3")}
    study["figures"]["fig3"]["claims"] = {}
    sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = rates


@pytest.fixture
def fresh(workspace: Workspace) -> Workspace:
    """With fig2 to be drawn anew, and fig3 with two runs that were never trained."""
    workspace.edit_study(lambda study: leave_fig3(study, [0.2, 0.4]))
    notebook = workspace.root / "workflow/notebooks/periodic_fig2.py"
    notebook.write_text(notebook.read_text() + "\n# %% [markdown]\n# Drawn anew.\n")
    return workspace


def fig2_was_drawn(workspace: Workspace) -> bool:
    drawn = (workspace.root / "results/smoke/figures/periodic_fig2.ipynb").read_text()
    return "Drawn anew." in drawn


def test_one_broken_run_holds_nothing_else_up_and_is_named_at_the_end(fresh: Workspace) -> None:
    fresh.replace(
        "workflow/perigee/kernel/trainer.py",
        "        return float(self.base_learning_rate * factor)\n",
        "        if self.base_learning_rate == 0.4:\n"
        '            raise ValueError("broken\\nhere")\n'
        "        return float(self.base_learning_rate * factor)\n",
    )
    result = fresh.snakemake("periodic", options=("--keep-going",))
    assert result.returncode != 0
    runs = fresh.root / "results/store/run"
    assert list(runs.glob("*-lr0.2-*/e4/metrics.parquet"))
    assert not list(runs.glob("*-lr0.4-*/e4/metrics.parquet"))
    assert fig2_was_drawn(fresh)

    (log,) = fresh.root.glob("results/logs/train_run/*-lr0.4-*/e4.log")
    told = (
        f"train.py: results/store/run/{log.parent.name}/e4: ValueError: broken here "
        f"(log: {log.relative_to(fresh.root)})"
    )
    lines = result.stdout.splitlines()
    assert told in lines, "by the program"
    assert lines.count(f"failed: {told}") == 1, "by the workflow"
    assert len(lines) - lines.index(f"failed: {told}") <= 6, "at its end"
    logged = log.read_text()
    assert logged.splitlines()[-1].endswith(told)
    assert "Traceback" in logged

    shown = fresh.by_hand(
        "python", "workflow/scripts/show_status.py", "periodic_fig3", "--scale", "smoke"
    )
    lines = shown.stdout.splitlines()
    assert lines[0] == "2 runs at smoke scale: 1 done, 1 failed."
    start = lines.index(f"failed    {log.parent.name}/e4")
    assert lines[start + 1 : start + 3] == [
        "          ValueError: broken here",
        f"          log: {log.relative_to(fresh.root)}",
    ]


def test_a_broken_data_set_fails_the_runs_that_need_it(fresh: Workspace) -> None:
    """One that its provenance vouches for, so that only reading it shows that it is broken."""
    (data,) = fresh.root.glob("results/store/dataset/digits-*/data.safetensors")
    content = data.read_bytes()[:1000]
    data.write_bytes(content)
    provenance = data.with_name("provenance.json")
    document = json.loads(provenance.read_text())
    checksum = {"bytes": 1000, "sha256": hashlib.sha256(content).hexdigest()}
    provenance.write_text(json.dumps(document | {"files": {data.name: checksum}}))
    result = fresh.snakemake("periodic", options=("--keep-going",))
    assert result.returncode != 0
    failed = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    for rate, line in zip(("0.2", "0.4"), sorted(failed), strict=True):
        assert line.startswith(f"failed: train.py: results/store/run/convnet-digits-lr{rate}-")
        assert "is not a readable data set" in line
    assert fig2_was_drawn(fresh)


def test_a_run_whose_loss_is_not_finite_is_a_result(workspace: Workspace) -> None:
    def diverge(study: dict[str, Any]) -> None:
        leave_fig3(study, [0.1, 1e10])
        study["runs"]["si_convnet"]["model"]["scale_invariant"] = False

    workspace.edit_study(diverge)
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


def store_runs(workspace: Workspace) -> str:
    """Make the store hold all runs of the plan: copies of one, told to be the others.

    Returns:
        The folder of the table that fig3 is drawn from.
    """
    done = workspace.by_hand(sys.executable, "-c", STORE_RUNS)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


STORE_RUNS = """
import json, os
from pathlib import Path
from perigee.plan import make_plan

store = Path("results/store")
source = next(store.glob("run/*-lr0.1-*/e4"))
plan = make_plan(["periodic"], "smoke")
for folder, run in plan.runs.items():
    if (store / folder).exists():
        continue
    (store / folder).mkdir(parents=True)
    for path in source.glob("*.parquet"):
        os.link(path, store / folder / path.name)
    provenance = json.loads((source / "provenance.json").read_text())
    provenance |= {"digest": run.identity.digest, "name": run.identity.name}
    (store / folder / "provenance.json").write_text(json.dumps(provenance))
(table,) = plan.figures["periodic_fig3"].tables.values()
print(store / table.identity.folder)
"""


def test_a_table_over_more_runs_than_a_command_line_holds(workspace: Workspace) -> None:
    def many(study: dict[str, Any]) -> None:
        leave_fig3(study, [0.1, 0.3])
        sweep_of(study)["sweep"]["seed"]["smoke"] = list(range(600))

    workspace.edit_study(many)
    folder = store_runs(workspace)
    printed = workspace.make(f"{folder}/table.parquet")
    name = Path(folder).name
    assert f"--spec .snakemake/perigee/specs/table/{name}.json " in printed
    specs = workspace.root / ".snakemake/perigee/specs/table" / f"{name}.json"
    assert specs.stat().st_size > 128 * 1024  # Linux takes no longer argument
    table = pd.read_parquet(workspace.root / folder / "table.parquet")
    assert table.groupby("optimiser.learning_rate")["seed"].nunique().to_dict() == {
        0.1: 600,
        0.3: 600,
    }

"""`snakemake calibrate` for real: afterwards the plan knows device hours before any run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support.workspace import Workspace, show_rates


def one_figure_of_long_runs(paper: dict[str, Any]) -> None:
    """Two rates, hours of training, so that device hours can be told from zero."""
    paper["figures"] = {"fig3": paper["figures"]["fig3"]}
    show_rates(paper, 0.1, 0.3)
    paper["figures"]["fig3"]["runs"]["rates"]["epochs"] = 100_000


def test_the_plan_knows_device_hours_before_any_run(tmp_path: Path) -> None:
    workspace = Workspace.clone(tmp_path / "workspace")
    workspace.edit_paper(one_figure_of_long_runs)
    workspace.edit_yaml("config/config.yaml", lambda c: c.update(papers=["periodic"]))
    planned = workspace.jobs("calibrate", "periodic_fig3")
    assert {"calibrate_runs", "build_dataset digits"} <= planned
    assert not any("train_run" in job for job in planned)

    printed = workspace.make("calibrate", "periodic_fig3")
    assert "kind 1/1, 2 runs such as convnet-digits-lr0.1-wd0.01-seed10 with " in printed
    record = workspace.root / "results/records/calibrations.json"
    (measured,) = json.loads(record.read_text())["calibrations"]
    assert not list(workspace.root.glob("results/store/run"))

    again = workspace.make("plan", "periodic_fig3")
    steps = measured["steps_per_epoch"] * measured["seconds_per_step"]
    hours = 2 * 100_000 * (steps + measured["seconds_per_pass"]) / 3600
    for text in (printed, again):
        (row,) = re.findall(r"│ periodic_fig3 +│(.+)│", text)
        assert abs(float(row.split("│")[3]) - hours) < 0.006
        assert f"by 'snakemake calibrate', on: {measured['device']}" in text

    record.write_text("{")
    refused = workspace.snakemake("periodic_fig3", options=("-n",))
    assert refused.returncode == 1
    (sentence,) = (line for line in refused.stdout.splitlines() if "damaged" in line)
    assert sentence.startswith("Error: results/records/calibrations.json is damaged")
    assert "Traceback" not in refused.stdout

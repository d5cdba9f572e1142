"""benchmarks/gpu_kit.py: what a machine with a GPU is brought, and that it needs no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perigee.planning.plan import make_plan
from perigee.planning.shapes import canonical, shape_of
from perigee.spec import RunSpec
from support.benchmarks import load, machine_with
from support.workspace import ROOT

PACKAGES = "torch", "numpy", "pandas", "pyarrow", "matplotlib"
"""Those of the machine."""


def test_with_the_kit_five_packages_are_enough(tmp_path: Path) -> None:
    programs = tmp_path / "project/benchmarks"
    left_out = shutil.ignore_patterns("results", "__pycache__")
    shutil.copytree(ROOT / "benchmarks", programs, ignore=left_out)
    for folder in ("workflow", "config"):
        (tmp_path / "project" / folder).symlink_to(ROOT / folder)
    there = machine_with(tmp_path / "machine", *PACKAGES)

    def run(python: Path | str, program: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), str(programs / program), *options],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )

    for program in ("gpu.py", "gpu_figure.py"):
        refused = run(there, program, "--help")
        assert refused.returncode == 1
        assert "This program needs pydantic" in refused.stderr
        assert "python benchmarks/gpu_kit.py" in refused.stderr
        assert "Traceback" not in refused.stderr
    made = run(sys.executable, "gpu_kit.py", "--python", ".".join(map(str, sys.version_info[:2])))
    assert made.returncode == 0, made.stderr
    # It is measured in processes that the program starts; these find the kit, too.
    done = run(there, "gpu.py", "--tiny", "--items", "resume", "--out", "tiny.json")
    assert done.returncode == 0, done.stderr
    (item,) = json.loads((tmp_path / "tiny.json").read_text())["items"].values()
    assert item["figures"]["same bits"] == {"weights": True}
    assert run(there, "gpu_figure.py", "--help").returncode == 0


def test_what_cannot_be_fetched_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_kit.py", "--out", str(tmp_path), "--python", "2.7"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SystemExit, match=r"pydantic for Python 2\.7 on .* cannot be had"):
        load("gpu_kit", monkeypatch).main()


def test_the_kinds_are_all_those_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    found = load("gpu_kit", monkeypatch).kinds()["kinds"]
    runs = make_plan(["periodic"], "paper").of_papers.runs.values()
    assert sum(kind["runs"] for kind in found) == len(runs)
    steps: dict[Any, int] = {}
    for run in runs:
        key = shape_of(run.spec.to_dict()), canonical(one.to_dict() for one in run.measures)
        steps[key] = steps.get(key, 0) + run.epochs * run.steps_per_epoch
    in_order = [steps[shape_of(kind["run"]), canonical(kind["measures"])] for kind in found]
    assert in_order == sorted(steps.values(), reverse=True)
    assert {(*kind["shape"], kind["classes"], kind["train"]) for kind in found} == {
        (3, 32, 32, 10, 50000),
        (3, 32, 32, 100, 50000),
    }
    names = [kind["name"] for kind in found]
    assert len(set(names)) == len(names)
    assert not any("," in name for name in names)  # --items separates names by it
    items = gpu.items(gpu.random_images(8, 8), "cpu", gpu.TINY, 2, found)
    of_runs = [one for one in items if one.group == "runs"]
    assert [one.name for one in of_runs] == [f"runs: {name}" for name in names]
    assert all(one.captures and not one.has_processes for one in of_runs)


def test_the_runs_of_the_figure_are_those_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load("gpu_kit", monkeypatch).figure()["runs"]
    planned = make_plan(["periodic"], "workstation").figures["periodic_fig3"].runs

    def key(spec: RunSpec, epochs: int) -> tuple[int, float, int]:
        return spec.seed, spec.optimiser.parameters["learning_rate"], epochs

    specs = {key(RunSpec.from_dict(one["spec"]), one["epochs"]): one["spec"] for one in found}
    assert specs == {key(one.spec, one.epochs): one.spec.to_dict() for one in planned}
    assert len(found) == len(specs)
    first = found[0]["swept"]["seed"]
    assert [one["swept"]["seed"] for one in found[:4]] == [first] * 4

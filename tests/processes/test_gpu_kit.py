"""benchmarks/gpu_kit.py: what a machine with a GPU is brought, and that it needs no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perigee.planning.plan import make_plan
from perigee.planning.shapes import canonical, shape_of
from perigee.spec import RunSpec
from perigee.store import provenance
from support.benchmarks import load, machine_with, without_path
from support.workspace import ROOT

PACKAGES = "torch", "numpy", "pandas", "pyarrow", "matplotlib"
"""Those of the machine."""
PYTHON = ".".join(map(str, sys.version_info[:2]))


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
            env=without_path(),
            capture_output=True,
            text=True,
            check=False,
        )

    for program in ("gpu.py", "gpu_figure.py"):
        refused = run(there, program, "--help")
        assert refused.returncode == 1
        assert f"python benchmarks/gpu_kit.py --python {PYTHON} --machine" in refused.stderr
        assert "Traceback" not in refused.stderr
    made = run(sys.executable, "gpu_kit.py", "--python", PYTHON)
    if "cannot be had; pip says why" in made.stderr and not os.environ.get("CI"):
        pytest.skip(f"pydantic cannot be fetched: {made.stderr}")
    assert made.returncode == 0, made.stderr
    # It is measured in processes that the program starts; these find the kit, too.
    kit = tmp_path / "project/gpu_kit"
    options = "--tiny", "--items", "resume", "--kinds", str(kit / "kinds.json")
    done = run(there, "gpu.py", *options, "--out", "tiny.json")
    assert done.returncode == 0, done.stderr
    (item,) = json.loads((tmp_path / "tiny.json").read_text())["items"].values()
    assert item["figures"]["same bits"] == {"weights": True}
    # Its runs are found, and then the images are missed.
    done = run(there, "gpu_figure.py", "--fashion-mnist", "nowhere")
    assert done.stderr.startswith("Fashion-MNIST is not complete: ")
    (kit / "figure.json").unlink()
    done = run(there, "gpu_figure.py", "--fashion-mnist", "nowhere")
    assert done.stderr.startswith(f"There is no {kit / 'figure.json'}: 'python benchmarks/gpu_kit")


def test_another_package_that_is_missing_is_named(tmp_path: Path) -> None:
    there = machine_with(tmp_path / "machine", "numpy", "pydantic")
    done = subprocess.run(
        [str(there), str(ROOT / "benchmarks/gpu.py")],
        env=without_path(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"This program needs torch, which this Python {PYTHON} lacks.\n"


def test_a_pydantic_that_is_too_old_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("gpu_kit", monkeypatch)
    kit = sys.modules["card.kit"]
    monkeypatch.setattr(kit, "KIT", tmp_path)
    kit.require("numpy")
    monkeypatch.setattr(kit, "version", lambda name: "1.10.2")
    with pytest.raises(SystemExit, match="This program needs pydantic, which"):
        kit.require("numpy")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"pydantic>={'.'.join(map(str, kit.OLDEST))}" in project["dependencies"]


def test_plans_of_another_commit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load("gpu_kit", monkeypatch)
    read_plan = sys.modules["card.kit"].read_plan
    path = tmp_path / "kinds.json"
    for commit, is_told in (("old", True), ("new", False)):
        monkeypatch.setattr(provenance, "git_state", lambda: {"commit": "new", "dirty": False})
        path.write_text(json.dumps({"git": {"commit": commit, "dirty": False}, "kinds": []}))
        assert read_plan(path)["kinds"] == []
        assert ("made at another commit, old" in capsys.readouterr().out) == is_told


@pytest.fixture
def pips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The arguments of pip, which is not started, and ends with an error for Python 3.14."""
    kit = load("gpu_kit", monkeypatch)
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        Path(command[command.index("--target") + 1]).mkdir()
        return subprocess.CompletedProcess(command, returncode=int("3.14" in command))

    monkeypatch.setattr(kit.subprocess, "run", run)
    monkeypatch.setattr(sys.modules["card.kit"], "KIT", tmp_path)
    monkeypatch.setattr(kit, "KIT", tmp_path)
    monkeypatch.setattr(kit, "kinds", lambda: {"kinds": []})
    monkeypatch.setattr(kit, "figure", lambda: {"runs": []})
    monkeypatch.setattr(kit, "git_state", lambda: None)
    return started


def call(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_kit.py", *options])
    sys.modules["gpu_kit"].main()


def test_packages_are_those_of_the_other_machine(
    pips: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "python3.12-aarch64/pydantic-1.0.dist-info"
    stale.mkdir(parents=True)
    call(monkeypatch, "--python", "3.12", "3.13", "--machine", "aarch64")
    assert not stale.exists()
    for python, command in zip(("3.12", "3.13"), pips, strict=True):
        told = dict(pairwise(command))
        assert told["--python-version"] == python
        assert (tmp_path / f"python{python}-aarch64").is_dir()
        assert command[-1] == f"pydantic=={metadata.version('pydantic')}"
        platforms = {after for one, after in pairwise(command) if one == "--platform"}
        assert all(one.endswith("_aarch64") for one in platforms)
        assert "manylinux_2_28_aarch64" in platforms


def test_plans_are_made_where_packages_cannot_be_had(
    pips: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "python3.14-x86_64/pydantic"
    before.mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"^pydantic for Python 3\.14 on x86_64 cannot be had"):
        call(monkeypatch, "--python", "3.14", "3.13", "--machine", "x86_64")
    assert len(pips) == 2
    assert {path.name for path in tmp_path.glob("*.json")} == {"kinds.json", "figure.json"}
    assert before.is_dir()
    pips.clear()
    call(monkeypatch, "--python")
    assert not pips


@pytest.mark.parametrize("version", ["3.10", "3.12.4", "2.7", "three"])
def test_a_version_that_is_none_is_refused(
    version: str,
    pips: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, "--python", version)
    assert f"'{version}' is not a version such as 3.12" in capsys.readouterr().err
    assert not pips


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

"""The files that the Snakemake workflow catalogue and GitHub look for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import perigee

ROOT = Path(__file__).parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_catalogue_finds_what_it_asks_for() -> None:
    assert (ROOT / "workflow/Snakefile").is_file()
    usage = read(".snakemake-workflow-catalog.yml")["usage"]
    assert usage["report"] is True
    assert usage["software-stack-deployment"]["conda"] is True


def test_the_smallest_configuration_is_planned_from_outside(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / ".test/config", tmp_path / ".test/config").parent
    options = ["--snakefile", "workflow/Snakefile", "--directory", folder]
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", *options, "-n", "periodic_fig2", "periodic_fig3"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stdout
    assert "results/smoke/figures/periodic_fig3.png" in planned.stdout


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_everything_is_made_where_no_target_is_named(snakefile: str, tmp_path: Path) -> None:
    options = ["--snakefile", snakefile, "--config", "scale=smoke", f"results={tmp_path}"]
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stdout
    assert "write_pages" in planned.stdout


def test_the_smallest_configuration_differs_in_scale_and_papers_alone() -> None:
    whole, smallest = read("config/config.yaml"), read(".test/config/config.yaml")
    assert list(smallest) == list(whole)
    assert {key for key in whole if whole[key] != smallest[key]} == {"scale", "papers"}


def test_actions_run_what_is_there() -> None:
    steps = [
        step
        for name in ("tests", "release")
        for job in read(f".github/workflows/{name}.yml")["jobs"].values()
        for step in job["steps"]
    ]
    commands = "\n".join(step.get("run", "") for step in steps)
    for file in re.findall(r"(?:\.ci|tests|workflow|\.test|quickstart)[\w./]*", commands):
        assert (ROOT / file).exists(), file
    assert ".ci/run" in commands


def test_a_release_is_of_the_version() -> None:
    (heading,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert heading == perigee.__version__

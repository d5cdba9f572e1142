"""A sentence names what options of the command line take away from a cluster's profile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from snakemake.cli import parse_args

from perigee.profiles import SLURM, lost_configuration, lost_resources, memory_advice, read_profile

LINE = re.compile(r"line (\d+) of slurm/profile\.yaml")
GPU_RULES = ("train_run", "evaluate_run", "calibrate_runs")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SLURM.parents[1])
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)


def line(number: int) -> str:
    return SLURM.read_text(encoding="utf-8").splitlines()[number - 1]


def resources_of(rule: str, arguments: list[str]) -> dict[str, object]:
    """The resources that a rule's job would ask for, as Snakemake reads its command line."""
    parsed = parse_args(arguments)[1]
    defaults = dict(entry.split("=", 1) for entry in parsed.default_resources.args)
    return {**defaults, **parsed.set_resources.get(rule, {})}


@pytest.mark.parametrize("rule", GPU_RULES)
def test_a_job_that_has_lost_its_gpu_is_refused(rule: str) -> None:
    """The GPU rules lose theirs by an option for another rule, which Snakemake takes for all."""
    arguments = ["--profile", "slurm", "all_figures", "--set-resources", "make_table:mem_mb=9000"]
    told = lost_resources(arguments, rule, resources_of(rule, arguments))
    assert told is not None
    assert f"{rule} would be submitted without 'gres: gpu:1'" in told
    (number,) = map(int, LINE.findall(told))
    assert line(number).lstrip().startswith("gres:")


def test_a_lost_partition_is_told_too() -> None:
    arguments = ["--profile=slurm", "x", "--default-resources", "slurm_account=mine"]
    asked = resources_of("make_table", arguments) | {"mem_mb": 8000}
    told = lost_resources(arguments, "make_table", asked)
    assert told is not None
    assert "'slurm_partition: main'" in told
    assert "--default-resources" in told


@pytest.mark.parametrize("rule", [*GPU_RULES, "make_table", "draw_figure"])
def test_nothing_is_lost_by_the_profile_alone(rule: str) -> None:
    arguments = ["--profile", "slurm", "all_figures"]
    assert lost_resources(arguments, rule, resources_of(rule, arguments)) is None
    assert lost_resources(["all_figures"], rule, {}) is None, "without a profile"


def test_the_advice_on_memory_names_the_rules_line() -> None:
    """The line holds also for a rule that shares another's entry by an anchor."""
    values = read_profile(SLURM)["set-resources"]
    for rule, entry in values.items():
        told = memory_advice(rule)
        (number,) = map(int, LINE.findall(told))
        assert line(number).split("#")[0].split() == ["mem_mb:", str(entry["mem_mb"])]
    assert "in line" in memory_advice("draw_figure")  # where its entry would stand
    assert "mem_mb=" not in memory_advice("train_run"), "an option would replace the profile's"


def test_a_configuration_file_that_replaces_the_profiles_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    arguments = ["--profile", "slurm", "--configfile", str(mine)]
    told = lost_configuration(arguments, [mine])
    assert told is not None
    assert f"--configfile config/paper.yaml config/cluster.yaml {mine}" in told
    whole = [Path("config/paper.yaml").absolute(), Path("config/cluster.yaml"), mine]
    assert lost_configuration(arguments, whole) is None
    assert lost_configuration(["--configfile", str(mine)], [mine]) is None, "without a profile"


def test_a_profile_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    assert lost_configuration([], []) is not None

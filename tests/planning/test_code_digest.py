"""A run's code digest covers the code that makes its numbers, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perigee.checkpoints import Trajectory
from perigee.identity.code import HARMLESS, closure, source_digest
from perigee.identity.products import (
    dataset_identity,
    predictions_identity,
    run_identity,
    table_identity,
)
from perigee.paths import SCRIPTS
from perigee.registry import REGISTRY
from perigee.spec import Component, RunSpec

SOURCE = '''
def step(weights, rate):
    """Docstring."""
    return weights * (1 - rate)
'''

SPEC = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 2, "scale_invariant": True, "head_norm": 10},
    "optimiser": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0},
    "schedule": {"name": "constant"},
    "norm_control": {"name": "free"},
    "loss": {"name": "cross_entropy", "label_smoothing": 0},
    "augmentation": {"name": "none"},
    "gradient": "mini_batch",
    "batch_size": 128,
    "seed": 0,
    "precision": "float32",
}


@pytest.mark.parametrize(
    "same",
    [
        SOURCE + "# a remark\n",
        SOURCE.replace("Docstring", "Another text"),
        SOURCE.replace('    """Docstring."""\n', ""),
        SOURCE.replace("weights * (1 - rate)", "(weights*(1-rate))"),
        '"""A module docstring."""\n\n\n' + SOURCE,
        SOURCE.replace("weights, rate):", "weights,\n    rate,\n):"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(same: str) -> None:
    assert source_digest(same) == source_digest(SOURCE)


@pytest.mark.parametrize(
    "different",
    [
        SOURCE.replace("1 - rate", "2 - rate"),
        SOURCE.replace("1 - rate", "1.0 - rate"),
        SOURCE.replace("1 - rate", "1 + rate"),
        SOURCE.replace("weights * (1 - rate)", "weights * 1 - rate"),
        SOURCE.replace("step", "stride"),
        SOURCE + "None\n" + "x = 1\n",
        SOURCE.replace('"""Docstring."""', 'rate = "Docstring."'),
    ],
)
def test_everything_else_counts(different: str) -> None:
    assert source_digest(different) != source_digest(SOURCE)


def test_the_closure_holds_every_module_that_training_loads(tmp_path: Path) -> None:
    """What a training job really imports, seen from outside, is in the closure or harmless."""
    dataset = Component("digits")
    program = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*(name for name in sys.modules if name.split('.')[0] == 'perigee'))\n"
    )

    def modules_loaded_by(script: str, *arguments: str) -> set[str]:
        command = [sys.executable, "-c", program, str(SCRIPTS / script), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return set(result.stdout.splitlines()[-1].split())

    data = str(tmp_path / "digits")
    built = modules_loaded_by("build_dataset.py", "--spec", '{"name": "digits"}', "--out", data)
    arguments = ["--spec", json.dumps(SPEC), "--dataset", data, "--epochs", "1"]
    trained = modules_loaded_by("train.py", *arguments, "--out", str(tmp_path / "run/e1"))

    def counted(script: str, *modules: str) -> set[str]:
        source = (SCRIPTS / script).read_text()
        imported = {line.split()[1] for line in source.splitlines() if line.startswith("from per")}
        return set(closure(frozenset(imported | set(modules))))

    harmless = {name for name in built | trained if name == "perigee" or _is_below(name)}
    assert built - harmless <= counted("build_dataset.py", "perigee.data.digits")
    named = (
        "data.augmentations.none",
        "models.convnet",
        "training.losses.cross_entropy",
        "training.norm_control.free",
        "training.optimisers.sgd",
        "training.schedules.constant",
    )
    assert trained - harmless <= counted("train.py", *(f"perigee.{name}" for name in named))
    assert "perigee.training.trainer" in trained
    assert dataset_identity(dataset).kind == "dataset"


def _is_below(name: str) -> bool:
    return any(name == h or name.startswith(f"{h}.") for h in HARMLESS if h != "perigee")


def test_which_gpu_a_job_takes_does_not_count() -> None:
    model = Component("convnet", SPEC["model"])
    for program, identity in (
        ("train.py", run_identity(RunSpec.from_dict(SPEC), "0" * 16)),
        ("predict.py", predictions_identity("run", "0" * 16, model, 1, 1)),
    ):
        assert "from perigee.gpus import" in (SCRIPTS / program).read_text()
        assert "perigee.gpus" not in identity.modules


def test_which_function_a_registry_line_names_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_identity(RunSpec.from_dict(SPEC), "0" * 16).digest
    line = REGISTRY["optimiser"]["sgd"]
    other = replace(line, target=line.target.replace(":SGD", ":OtherSGD"))
    monkeypatch.setitem(REGISTRY["optimiser"], "sgd", other)
    assert run_identity(RunSpec.from_dict(SPEC), "0" * 16).digest != before


def test_only_the_named_blocks_count() -> None:
    modules = closure(frozenset({"perigee.training.trainer", "perigee.models.convnet"}))
    assert "perigee.training.metrics" in modules
    assert "perigee.training" in modules, "importing a module runs its packages"
    assert not [name for name in modules if name.startswith("perigee.training.optimisers")]
    assert not [name for name in modules if name.startswith("perigee.plotting")]
    assert not [name for name in modules if _is_below(name)]


def test_what_cuts_up_a_rows_numbers_counts() -> None:
    """Which weights are compared, predicted with, or started from is a matter of numbers."""
    model = Component("convnet", SPEC["model"])
    similarity = Component("similarity", {"near_zero": "train_loss"})
    for identity in (
        run_identity(RunSpec.from_dict(SPEC), "0" * 16),
        predictions_identity("run", "0" * 16, model, 1, 1),
        table_identity("table", similarity, []),
    ):
        assert Trajectory.__module__ in identity.modules, identity.kind


def test_what_is_part_of_a_runs_identity() -> None:
    base = run_identity(RunSpec.from_dict(SPEC), "0" * 16)
    assert run_identity(RunSpec.from_dict(SPEC), "1" * 16).digest != base.digest
    others = {"seed": 1, "batch_size": 64, "precision": "float64", "gradient": "full_batch"}
    for key, value in others.items():
        assert run_identity(RunSpec.from_dict({**SPEC, key: value}), "0" * 16).digest != base.digest
    schedule = {"name": "cosine", "horizon": 5}
    other = run_identity(RunSpec.from_dict({**SPEC, "schedule": schedule}), "0" * 16)
    assert other.digest != base.digest
    assert other.code != base.code

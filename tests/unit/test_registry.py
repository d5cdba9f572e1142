"""perigee.registry, blocks and spec: what a configuration names is what the code takes."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from perigee import registry
from perigee.blocks.base import Block
from perigee.blocks.optimisers import Adam
from perigee.blocks.schedules import Steps
from perigee.spec import BLOCK_FIELDS, RunSpec

BLOCKS = [(kind, name) for kind, blocks in registry.REGISTRY.items() for name in blocks]
WITHOUT_PARAMETERS = ("dataset", "task")
"""Kinds whose implementation takes none: they are read elsewhere, or of the spec."""

FULL: dict[str, Any] = {
    "dataset": {"name": "digits", "label_noise": 0.25, "noise_seed": 3},
    "task": {"name": "classification"},
    "model": {
        "name": "convnet",
        "width": 8,
        "scale_invariant": True,
        "head_norm": 9.0,
        "head_seed": 4,
    },
    "optimiser": {
        "name": "sgd",
        "learning_rate": 0.3,
        "weight_decay": 0.01,
        "undecayed": ["normalisation"],
        "momentum": 0.9,
    },
    "schedule": {"name": "steps", "milestones": [3, 5], "gamma": 0.1},
    "constraint": {"name": "fixed_norm", "norm": 2.0},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    "augmentation": {"name": "crop_and_flip", "padding": 4, "flip": True},
    "gradient": "full_batch",
    "batch_size": 128,
    "seed": 7,
    "precision": "float64",
}
REQUIRED: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 8, "scale_invariant": True},
    "optimiser": {"name": "sgd", "learning_rate": 0.3},
    "batch_size": 128,
    "seed": 0,
}


def keywords(code: Any) -> set[str]:
    parameters = inspect.signature(code).parameters.values()
    return {p.name for p in parameters if p.kind == inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_a_block_takes_the_parameters_of_its_class(kind: str, name: str) -> None:
    """Only the trainer takes the learning rate: the schedule multiplies it."""
    block_class = registry.REGISTRY[kind][name]
    # Checked before it is imported: planning reads no implementation.
    code = registry.load(block_class.model_construct())
    declared = set(block_class.model_fields)
    assert (block_class.kind, block_class.name) == (kind, name)
    if kind in WITHOUT_PARAMETERS:
        assert not keywords(code)
    else:
        assert keywords(code) == declared - ({"learning_rate"} if kind == "optimiser" else set())


def test_names_are_unique_and_found() -> None:
    assert len({(block.kind, block.name) for block in registry.BLOCKS}) == len(registry.BLOCKS)
    made = registry.make("schedule", {"name": "steps", "milestones": [1], "gamma": 0.5})
    assert made == Steps(milestones=(1,), gamma=0.5)
    with pytest.raises(KeyError, match="warm_up"):
        registry.make("schedule", {"name": "warm_up"})


@pytest.mark.parametrize(
    ("kind", "name", "parameter", "refused"),
    [
        ("dataset", "digits", "label_noise", 1.1),
        ("dataset", "digits", "label_noise", -0.1),
        ("dataset", "digits", "noise_seed", -1),
        ("model", "convnet", "width", 0),
        ("model", "convnet", "head_norm", 0),
        ("model", "convnet", "head_seed", 2**32),
        ("model", "resnet18", "width", 0),
        ("model", "resnet18", "scale_invariant", 1),
        ("optimiser", "sgd", "learning_rate", 0),
        ("optimiser", "sgd", "learning_rate", "fast"),
        ("optimiser", "sgd", "learning_rate", True),
        ("optimiser", "sgd", "weight_decay", -1),
        ("optimiser", "sgd", "weight_decay", float("inf")),
        ("optimiser", "sgd", "undecayed", "normalisation"),
        ("optimiser", "sgd", "momentum", 1),
        ("optimiser", "adam", "betas", [0.9]),
        ("optimiser", "adam", "betas", [0.9, 1]),
        ("schedule", "cosine", "horizon", 0),
        ("schedule", "steps", "milestones", []),
        ("constraint", "fixed_norm", "norm", 0),
        ("loss", "cross_entropy", "label_smoothing", 1),
        ("loss", "cross_entropy", "label_smoothing", -0.1),
        ("augmentation", "crop_and_flip", "padding", -1),
        ("augmentation", "crop_and_flip", "padding", 0.5),
        ("augmentation", "crop_and_flip", "flip", 1),
        ("measure", "checkpoints", "interval", 0),
        ("analysis", "scale_invariant_steps", "start", [1]),
        ("analysis", "toy_regimes", "coefficients", [1, -1]),
        ("analysis", "toy_regimes", "seed", -1),
    ],
)
def test_values_without_meaning_are_refused(
    kind: str, name: str, parameter: str, refused: Any
) -> None:
    with pytest.raises(ValidationError) as caught:
        registry.make(kind, {"name": name, parameter: refused})
    absent = {error["loc"] for error in caught.value.errors() if error["type"] == "missing"}
    wrong = {error["loc"][0] for error in caught.value.errors() if len(error["loc"]) > 1}
    wrong |= {error["loc"][0] for error in caught.value.errors() if error["loc"] not in absent}
    assert wrong == {parameter}


def test_a_parameter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="nesterov"):
        registry.make("optimiser", {"name": "sgd", "learning_rate": 1, "nesterov": True})
    with pytest.raises(ValidationError, match="epochs"):
        RunSpec.from_dict({**REQUIRED, "epochs": 3})


def test_numbers_may_be_spelled_as_texts() -> None:
    """1e-3 is text to YAML 1.1, and so is everything to a command line."""
    spelled = registry.make("optimiser", {"name": "sgd", "learning_rate": "1e-3"})
    assert spelled == registry.make("optimiser", {"name": "sgd", "learning_rate": 0.001})


def test_registry_and_spec_need_no_torch() -> None:
    program = "import sys, perigee.registry, perigee.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Canonical forms


@pytest.mark.parametrize("values", [FULL, REQUIRED], ids=["all", "required"])
def test_a_spec_survives_its_plain_forms(values: dict[str, Any]) -> None:
    spec = RunSpec.from_dict(values)
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert RunSpec.from_dict(spec.full_dict()) == spec
    assert spec.blocks.keys() == set(BLOCK_FIELDS)
    for field, block in spec.blocks.items():
        assert isinstance(block, Block)
        assert block.kind == field


def test_defaults_are_left_out_and_everything_else_stays() -> None:
    assert RunSpec.from_dict(REQUIRED).to_dict() == REQUIRED
    canonical = RunSpec.from_dict(FULL).to_dict()
    assert canonical == {key: value for key, value in FULL.items() if key != "task"}
    assert RunSpec.from_dict(FULL).full_dict() == FULL
    # A default that is written out is no other run.
    spelled = {**REQUIRED, "precision": "float32", "loss": {"name": "cross_entropy"}}
    assert RunSpec.from_dict(spelled).to_dict() == REQUIRED


def test_a_parent_has_the_same_forms() -> None:
    at = {"name": "before_destabilisation", "epochs": 3, "number": 1}
    parent = {"run": FULL, "epochs": 9, "at": at}
    spec = RunSpec.from_dict({**REQUIRED, "parent": parent})
    assert spec.to_dict()["parent"] == {
        "run": RunSpec.from_dict(FULL).to_dict(),
        "epochs": 9,
        "at": {"name": "before_destabilisation", "epochs": 3},
    }
    assert spec.full_dict()["parent"] == parent
    assert RunSpec.from_dict(spec.to_dict()) == spec


def test_what_code_is_given_has_every_default() -> None:
    assert Adam(learning_rate=0.1).parameters == {
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "undecayed": [],
        "betas": [0.9, 0.999],
    }


def test_every_value_can_change_the_canonical_form() -> None:
    """Each may change a run's numbers, so none may be missing from its digest."""
    other: dict[str, Any] = {
        "dataset": {"name": "digit_pairs"},
        "task": {"name": "streamed_classification"},
        "model": {"name": "resnet18", "width": 8, "scale_invariant": True},
        "optimiser": {"name": "adam", "learning_rate": 0.3},
        "schedule": {"name": "cosine", "horizon": 3},
        "constraint": {"name": "fixed_norm"},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.5},
        "augmentation": {"name": "crop_and_flip", "padding": 0, "flip": False},
        "gradient": "full_batch",
        "batch_size": 1,
        "seed": 1,
        "precision": "tf32",
        "parent": {"run": REQUIRED, "epochs": 1, "at": {"name": "at_epoch", "epoch": 0}},
    }
    assert other.keys() == set(RunSpec.model_fields)
    forms = [RunSpec.from_dict({**REQUIRED, key: value}).to_dict() for key, value in other.items()]
    assert all(form != REQUIRED for form in forms)


@pytest.mark.parametrize("key", REQUIRED)
def test_what_has_no_default_must_be_given(key: str) -> None:
    with pytest.raises((KeyError, ValidationError)):
        RunSpec.from_dict({k: value for k, value in REQUIRED.items() if k != key})

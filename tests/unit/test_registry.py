"""perigee.registry and spec: what a configuration names is what the code takes."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from perigee import registry
from perigee.spec import COMPONENT_FIELDS, Component, RunSpec

BLOCKS = [(kind, name) for kind, blocks in registry.REGISTRY.items() for name in blocks]

PLAIN: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 8, "scale_invariant": True, "head_norm": 10.0},
    "optimiser": {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.01, "momentum": 0},
    "schedule": {"name": "steps", "milestones": [3, 5], "decay": 0.1},
    "norm_control": {"name": "fixed", "norm": None},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    "augmentation": {"name": "crop_and_flip", "padding": 4, "flip": True},
    "gradient": "full_batch",
    "batch_size": 128,
    "seed": 0,
    "precision": "float32",
}


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_a_block_takes_the_parameters_of_its_line(kind: str, name: str) -> None:
    # Only the trainer takes the learning rate: the schedule multiplies it.
    line = registry.REGISTRY[kind][name]
    code = registry.load(kind, Component(name))
    taken = {
        parameter.name
        for parameter in inspect.signature(code).parameters.values()
        if parameter.kind == inspect.Parameter.KEYWORD_ONLY
    }
    assert taken == set(line.parameters) - ({"learning_rate"} if kind == "optimiser" else set())
    assert code.__module__ == line.module


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_schemas_are_schemas_and_their_defaults_pass(kind: str, name: str) -> None:
    for schema in registry.REGISTRY[kind][name].parameters.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        if "default" in schema:
            jsonschema.validate(schema["default"], schema)


@pytest.mark.parametrize(
    ("kind", "name", "parameter", "refused"),
    [
        ("model", "convnet", "width", 0),
        ("model", "convnet", "head_norm", 0),
        ("model", "resnet18", "width", 0),
        ("model", "resnet18", "head_norm", 0),
        ("optimiser", "sgd", "learning_rate", 0),
        ("optimiser", "sgd", "weight_decay", -1),
        ("optimiser", "sgd", "momentum", 1),
        ("schedule", "cosine", "horizon", 0),
        ("schedule", "steps", "milestones", []),
        ("norm_control", "fixed", "norm", 0),
        ("loss", "cross_entropy", "label_smoothing", 1),
        ("loss", "cross_entropy", "label_smoothing", -0.1),
        ("augmentation", "crop_and_flip", "padding", -1),
        ("augmentation", "crop_and_flip", "padding", 0.5),
        ("augmentation", "crop_and_flip", "flip", 1),
        ("analysis", "scale_invariant_steps", "start", [1]),
        ("analysis", "toy_regimes", "coefficients", [1, -1]),
        ("analysis", "toy_regimes", "seed", -1),
    ],
)
def test_values_without_meaning_are_refused(
    kind: str, name: str, parameter: str, refused: Any
) -> None:
    schema = registry.REGISTRY[kind][name].parameters[parameter]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(refused, schema)


def test_null_is_the_default_of_optional_values() -> None:
    schema = registry.optional(registry.number(minimum=1))
    for accepted in (None, 1, 2.5):
        jsonschema.validate(accepted, schema)
    for refused in (0, "1"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(refused, schema)
    assert schema["default"] is None


def test_registry_and_spec_need_no_torch() -> None:
    program = "import sys, perigee.registry, perigee.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_spec_survives_its_plain_form() -> None:
    spec = RunSpec.from_dict(PLAIN)
    assert spec.to_dict() == PLAIN
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert spec.schedule == Component("steps", {"milestones": [3, 5], "decay": 0.1})
    for field in COMPONENT_FIELDS:
        assert getattr(spec, field).name == PLAIN[field]["name"]


def test_the_plain_form_is_complete() -> None:
    # Every value of a spec can change a run's numbers, so none may be missing from its digest.
    for key in PLAIN:
        with pytest.raises(KeyError, match=key):
            RunSpec.from_dict({k: value for k, value in PLAIN.items() if k != key})

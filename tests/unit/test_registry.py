"""perigee.registry, blocks and spec: what a configuration names is what the code takes."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from perigee import registry
from perigee.blocks.datasets import Dataset
from perigee.blocks.optimisers import UpdateRule
from perigee.spec import BLOCK_FIELDS, Claim, RunSpec

BLOCKS = [(kind, name) for kind, blocks in registry.REGISTRY.items() for name in blocks]
WITHOUT_PARAMETERS = ("dataset", "task")
"""Kinds whose implementation takes none: they are read elsewhere, or of the spec."""

FULL: dict[str, Any] = {
    "dataset": {"name": "digits", "label_noise": 0.1, "noise_seed": 1, "train_images": 400},
    "task": {"name": "classification"},
    "model": {
        "name": "convnet",
        "width": 8,
        "scale_invariant": True,
        "head_norm": 3.0,
        "head_seed": 1,
    },
    "optimiser": {
        "name": "sgd",
        "learning_rate": 0.3,
        "weight_decay": 0.01,
        "undecayed": ["other"],
        "momentum": 0.5,
    },
    "schedule": {
        "name": "steps",
        "milestones": [3, 5],
        "gamma": 0.1,
        "warm_up_steps": 5,
        "warm_up_from": 0.1,
    },
    "constraint": {"name": "fixed_norm", "norm": 2.0},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    "augmentation": {"name": "crop_and_flip", "padding": 4, "flip": True},
    "gradient": "full_batch",
    "batch_size": 128,
    "seed": 1,
    "precision": "float64",
}


def implementation(kind: str, name: str) -> tuple[Any, dict[str, inspect.Parameter]]:
    block = registry.REGISTRY[kind][name].model_construct()
    code = registry.load(block)
    parameters = inspect.signature(code).parameters.values()
    return code, {p.name: p for p in parameters if p.kind == inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_code_takes_the_parameters_of_its_block(kind: str, name: str) -> None:
    block = registry.REGISTRY[kind][name]
    code, taken = implementation(kind, name)
    # The trainer multiplies the rate by the schedule's factors; noise is not the source's.
    rate = {block.model_construct().rate_name} if issubclass(block, UpdateRule) else set()
    others = {"optimiser": rate, "dataset": set(Dataset.model_fields)}
    given = {"within_seed"} & set(taken)  # by the claim that names a column
    assert set(taken) - given == set(block.model_fields) - others.get(kind, set())
    assert code.__module__ == block.code.partition(":")[0]


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_defaults_stand_in_one_place(kind: str, name: str) -> None:
    _, taken = implementation(kind, name)
    with_default = [n for n, p in taken.items() if p.default is not inspect.Parameter.empty]
    assert with_default == []


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_a_block_tells_its_name_and_kind(kind: str, name: str) -> None:
    block = registry.REGISTRY[kind][name]
    assert (block.kind, block.name) == (kind, name)
    assert [b for b in registry.BLOCKS if (b.kind, b.name) == (kind, name)] == [block]
    assert not {"kind", "name", "code"} & set(block.model_fields)


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        ("model", {"name": "convnet", "width": 0, "scale_invariant": True}),
        ("model", {"name": "convnet", "width": 1.5, "scale_invariant": True}),
        ("model", {"name": "convnet", "width": True, "scale_invariant": True}),
        ("model", {"name": "convnet", "width": 1, "scale_invariant": 1}),
        ("model", {"name": "convnet", "width": 1, "scale_invariant": True, "head_norm": 0}),
        ("model", {"name": "resnet18", "width": 1, "scale_invariant": True, "head_seed": -1}),
        ("model", {"name": "resnet18", "width": 1}),
        ("optimiser", {"name": "sgd", "learning_rate": 0}),
        ("optimiser", {"name": "sgd", "learning_rate": "fast"}),
        ("optimiser", {"name": "sgd", "learning_rate": float("inf")}),
        ("optimiser", {"name": "sgd", "learning_rate": 1, "weight_decay": -1}),
        ("optimiser", {"name": "sgd", "learning_rate": 1, "momentum": 1}),
        ("optimiser", {"name": "sgd", "learning_rate": 1, "nesterov": True}),
        ("optimiser", {"name": "adam", "learning_rate": 1, "betas": [0.9]}),
        ("optimiser", {"name": "adam", "learning_rate": 1, "undecayed": "other"}),
        ("optimiser", {"name": "projected_sgd"}),
        ("optimiser", {"name": "projected_sgd", "effective_learning_rate": 0}),
        ("optimiser", {"name": "projected_sgd", "effective_learning_rate": 1, "momentum": 0.9}),
        ("schedule", {"name": "cosine", "horizon": 0}),
        ("schedule", {"name": "steps", "milestones": [], "gamma": 0.1}),
        ("schedule", {"name": "steps", "milestones": [1], "gamma": 0}),
        ("constraint", {"name": "fixed_norm", "norm": 0}),
        ("constraint", {"name": "equal_filter_norms", "norm": 0}),
        ("loss", {"name": "cross_entropy", "label_smoothing": 1}),
        ("loss", {"name": "cross_entropy", "label_smoothing": -0.1}),
        ("augmentation", {"name": "crop_and_flip", "padding": -1, "flip": True}),
        ("augmentation", {"name": "crop_and_flip", "padding": 0.5, "flip": True}),
        ("dataset", {"name": "digits", "label_noise": 1.5}),
        ("dataset", {"name": "digits", "noise_seed": 2**32}),
        ("measure", {"name": "checkpoints", "interval": 0}),
        ("fork", {"name": "at_epoch", "epoch": -1}),
        ("fork", {"name": "before_destabilisation", "epochs": 1, "number": 0}),
        ("analysis", {"name": "filter_values", "last_fraction": 0}),
        ("analysis", {"name": "regimes", "late_fraction": 1.1}),
        ("analysis", {"name": "sharpness_profiles", "levels_per_decade": 0}),
    ],
)
def test_values_without_meaning_are_refused(kind: str, block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        registry.make(kind, block)


@pytest.mark.parametrize("epochs", [0, 1.5, "many", True])
def test_a_parent_without_a_whole_number_of_epochs_is_refused(epochs: Any) -> None:
    at = {"name": "at_epoch", "epoch": 1}
    parent = {"run": FULL, "epochs": epochs, "at": at}
    with pytest.raises(ValidationError):
        RunSpec.from_dict({**FULL, "parent": parent})


def test_a_name_that_is_not_registered_is_refused() -> None:
    with pytest.raises(KeyError):
        registry.make("model", {"name": "transformer"})


def test_registry_and_spec_need_no_torch() -> None:
    program = "import sys, perigee.registry, perigee.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_spec_survives_its_plain_form() -> None:
    spec = RunSpec.from_dict(FULL)
    assert spec.full_dict() == FULL
    plain = {key: value for key, value in FULL.items() if key != "task"}
    assert spec.to_dict() == plain, "the one task is the default"
    assert RunSpec.from_dict(spec.to_dict()) == spec
    fork = {**FULL, "parent": {"run": FULL, "epochs": 3, "at": {"name": "at_epoch", "epoch": 1}}}
    assert RunSpec.from_dict(fork).full_dict() == fork
    assert RunSpec.from_dict(RunSpec.from_dict(fork).to_dict()) == RunSpec.from_dict(fork)


def test_code_is_given_what_the_spec_says() -> None:
    """The parameters of a block, defaults or not, are its values in the full plain form."""
    for block in RunSpec.from_dict(FULL).blocks.values():
        expected = {key: value for key, value in FULL[block.kind].items() if key != "name"}
        assert block.parameters == expected
    assert set(RunSpec.from_dict(FULL).blocks) == set(BLOCK_FIELDS)


def test_an_unknown_value_of_a_run_is_refused() -> None:
    for changed in ({"epochs": 3}, {"precision": "float16"}, {"gradient": "none"}, {"seed": -1}):
        with pytest.raises(ValidationError):
            RunSpec.from_dict({**FULL, **changed})


def test_the_wording_of_a_claim_is_not_its_rule() -> None:
    values = {
        "name": "later",
        "kind": "rate",
        "unit": "run",
        "margin": None,
        "pooled": False,
        "draws": "seed",
        "shared": None,
        "given": None,
        "within_seed": None,
        "table": "runs",
        "quantity": {"name": "norm_prediction_error", "weight_decay": 0.1},
        "relation": "at_least",
        "bound": 1.0,
        "testable": True,
        "says": "It jumps later.",
        "source": "Section 4",
        "seen": "",
        "locked": "",
    }
    claim = Claim.from_dict(values)
    assert claim.to_dict() == values
    reworded = Claim.from_dict({**values, "says": "Jumps come later.", "source": "Section 5"})
    assert claim.rule == reworded.rule
    for key, other in (("bound", 2.0), ("relation", "at_most"), ("table", "periods")):
        assert Claim.from_dict({**values, key: other}).rule != claim.rule

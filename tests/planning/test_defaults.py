"""A default is a promise: values equal to it are left out of identities, so it never changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from perigee import registry
from perigee.identity.canonical import canonical_json
from perigee.identity.products import run_identity
from perigee.spec import RunSpec

DATASET = {"label_noise": 0, "noise_seed": 0}
ANNOTATED = DATASET | {
    "resize": 800,
    "longest_side": 1333,
    "channel_means": [0.485, 0.456, 0.406],
    "channel_stds": [0.229, 0.224, 0.225],
}
WARM_UP = {"warm_up_steps": 0, "warm_up_from": 0.001}
MODEL = {"head_norm": 10, "head_seed": None}
OPTIMISER = {"weight_decay": 0, "undecayed": []}
RATE = {"rate": "optimiser.effective_learning_rate"}

DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "analysis": {
        "destabilisations": {"near_zero": "train_loss", "resolution": "epoch"},
        "dials": {"resolution": "epoch"},
        "ensemble_gains": {"near_zero": "train_loss"},
        "equilibrium": {"layers": [], "window": 200, "late_fraction": 0.5},
        "equilibrium_runs": {"window": 200, "late_fraction": 0.5},
        "filter_statistics": {"last_fraction": 0.2},
        "filter_values": {"last_fraction": 0.2},
        "fine_tuning": RATE | {"late_fraction": 0.2},
        "late_image_errors": {"near_zero": "train_loss", "resolution": "epoch"},
        "layer_courses": {"layers": [], "window": 200},
        "layer_steps": {"layers": [], "window": 200, "rows": 3000},
        "period_statistics": {"near_zero": "train_loss", "resolution": "epoch"},
        "regimes": RATE | {"late_fraction": 0.2, "further": []},
        "run_metrics": {"further": []},
        "sharpness_profiles": RATE | {"levels_per_decade": 4},
        "similarity": {"near_zero": "train_loss"},
        "stage_metrics": {"layers": []},
        "stages": {"layers": [], "window": 200},
        "toy_regimes": {"starts": 1},
    },
    "dataset": {
        "cifar10": DATASET,
        "cifar100": DATASET,
        "coco": ANNOTATED
        | {
            "folder": "coco",
            "train_images": 117266,
            "test_images": 5000,
            "train_split": "train2017",
            "test_split": "val2017",
            "categories": 80,
        },
        "coloured_shapes": ANNOTATED | {"side": 64, "drawing_seed": 0},
        "digit_pairs": DATASET | {"test_pairs_per_class": 5},
        "digits": DATASET | {"train_images": 1437},
        "fashion_mnist": DATASET,
        "image_folder": DATASET
        | {
            "resize": None,
            "train_split": "train",
            "test_split": "val",
            "channel_means": [0.485, 0.456, 0.406],
            "channel_stds": [0.229, 0.224, 0.225],
        },
    },
    "constraint": {"equal_filter_norms": {"norm": None}, "fixed_norm": {"norm": None}},
    "fork": {
        "at_norm_before_destabilisation": {"number": 1},
        "before_destabilisation": {"number": 1},
    },
    "loss": {"cross_entropy": {"label_smoothing": 0}},
    "measure": {
        "checkpoints": {"interval": 1},
        "thinned_layers": {"every": 1, "in_full": []},
    },
    "model": {
        "convnet": MODEL,
        "mask_rcnn": {
            "blocks": [3, 4, 6, 3],
            "width": 64,
            "pyramid_width": 256,
            "head_width": 1024,
            "smallest_anchor": 32,
            "proposals": 512,
        },
        "post_activation_resnet": {"width": 64},
        "resnet18": MODEL,
    },
    "optimiser": {
        "adam": OPTIMISER | {"betas": [0.9, 0.999]},
        "adamw": OPTIMISER | {"betas": [0.9, 0.999]},
        "sgd": OPTIMISER | {"momentum": 0},
    },
    "quantity": {
        "column": {
            "against": None,
            "border": None,
            "last_fraction": 1,
            "minus": None,
            "over": None,
            "plus": None,
            "under": None,
            "where": {},
        },
        "column_at_lowest": {"where": {}},
    },
    "schedule": {
        "rescaled_steps": WARM_UP | {"velocity": "multiplied"},
        "steps": WARM_UP,
    },
}
"""The defaults of every registered block that has any. Add a new parameter here with its default;
never change or remove an existing line."""

RUN_DEFAULTS = {
    "task": {"name": "classification"},
    "schedule": {"name": "constant"},
    "constraint": {"name": "none"},
    "loss": {"name": "cross_entropy", "label_smoothing": 0},
    "augmentation": {"name": "none"},
    "gradient": "mini_batch",
    "precision": "float32",
    "parent": None,
}
"""The defaults of a run's spec, under the same promise."""

REQUIRED: dict[tuple[str, str], dict[str, Any]] = {
    ("analysis", "toy_regimes"): {
        "coefficients": [1, 2],
        "effective_learning_rates": [0.1],
        "iterations": 9,
        "seed": 0,
    },
    ("dataset", "coloured_shapes"): {"train_images": 9, "test_images": 9},
    ("dataset", "image_folder"): {"folder": "a", "train_images": 9, "resolution": 32},
    ("fork", "at_norm_before_destabilisation"): {"factor": 1.03},
    ("fork", "before_destabilisation"): {"epochs": 1},
    ("model", "convnet"): {"width": 2, "scale_invariant": True},
    ("model", "post_activation_resnet"): {
        "block": "basic",
        "blocks": [1, 1, 1, 1],
        "stem": "small",
    },
    ("model", "resnet18"): {"width": 2, "scale_invariant": True},
    ("optimiser", "adam"): {"learning_rate": 0.1},
    ("optimiser", "adamw"): {"learning_rate": 0.1},
    ("optimiser", "sgd"): {"learning_rate": 0.1},
    ("quantity", "column"): {"column": "a"},
    ("quantity", "column_at_lowest"): {"column": "a", "lowest": "b"},
    ("schedule", "rescaled_steps"): {"milestones": [1], "gamma": 0.1},
    ("schedule", "steps"): {"milestones": [1], "gamma": 0.1},
}
"""Values of the parameters without a default."""

OTHERS: dict[str, Any] = {
    "near_zero": "train_error",
    "resolution": "step",
    "further": ["full_gradient_norm"],
    "label_noise": 0.5,
    "noise_seed": 1,
    "test_pairs_per_class": 25,
    "train_images": 400,
    "resize": 40,
    "train_split": "a",
    "test_split": "a",
    "channel_means": [0.5, 0.5, 0.5],
    "channel_stds": [0.5, 0.5, 0.5],
    "norm": 1,
    "number": 2,
    "label_smoothing": 0.1,
    "interval": 2,
    "every": 10,
    "in_full": ["layer2.0.conv2"],
    "head_norm": 1,
    "head_seed": 0,
    "weight_decay": 1,
    "undecayed": ["other"],
    "betas": [0.9, 0.99],
    "momentum": 0.9,
    "where": {"epoch": 1},
    "against": "epoch",
    "border": {"at_most": 1},
    "over": {"epoch": 1},
    "under": {"epoch": 1},
    "plus": {"epoch": 1},
    "minus": {"epoch": 1},
    "last_fraction": 0.5,
    "late_fraction": 0.3,
    "layers": ["layer2.0.conv2"],
    "window": 50,
    "rows": 9,
    "levels_per_decade": 8,
    "rate": "optimiser.learning_rate",
    "starts": 2,
    "width": 8,
    "warm_up_steps": 3,
    "warm_up_from": 0.1,
    "velocity": "reset",
    "longest_side": 1400,
    "folder": "a",
    "test_images": 9,
    "categories": 9,
    "side": 32,
    "drawing_seed": 1,
    "blocks": [1, 1, 1, 1],
    "pyramid_width": 8,
    "head_width": 8,
    "smallest_anchor": 8,
    "proposals": 8,
}
"""For every parameter with a default a value that is another."""

BESIDE = {
    "over": "under",
    "under": "over",
    "plus": "minus",
    "minus": "plus",
    "border": "against",
}
"""Parameters that are given together."""

WITHOUT_OTHERS = {("dataset", name, "label_noise") for name in ("coco", "coloured_shapes")}
"""Parameters whose default is the only value, since their blocks cannot do what others do."""

PARAMETERS = [
    (kind, name, parameter)
    for kind, blocks in DEFAULTS.items()
    for name, defaults in blocks.items()
    for parameter in defaults
]


def spellings(value: Any) -> Iterator[Any]:
    """All ways in which a configuration may write a value."""
    yield value
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (float(value), str(value), f"{value:e}", f"{float(value)!r}")
    if isinstance(value, list):
        yield tuple(value)
        yield from map(list, zip(*map(spellings, value), strict=True))


def test_every_default_stands_in_the_table() -> None:
    found = {
        kind: {
            name: {
                parameter: field.get_default(call_default_factory=True)
                for parameter, field in block.model_fields.items()
                if not field.is_required()
            }
            for name, block in blocks.items()
        }
        for kind, blocks in registry.REGISTRY.items()
    }
    with_any = {kind: {n: d for n, d in blocks.items() if d} for kind, blocks in found.items()}
    assert canonical_json({k: b for k, b in with_any.items() if b}) == canonical_json(DEFAULTS)


def test_every_default_of_a_run_stands_in_the_table() -> None:
    spec = RunSpec.from_dict(RUNS["plain"])
    found = {
        name: getattr(spec, name)
        for name, field in RunSpec.model_fields.items()
        if not field.is_required()
    }
    plain = {k: v.full_dict() if hasattr(v, "full_dict") else v for k, v in found.items()}
    assert canonical_json(plain) == canonical_json(RUN_DEFAULTS)


@pytest.mark.parametrize(("kind", "name", "parameter"), PARAMETERS)
def test_a_default_that_is_written_out_is_left_out(kind: str, name: str, parameter: str) -> None:
    required = {"name": name, **REQUIRED.get((kind, name), {})}
    for value in spellings(DEFAULTS[kind][name][parameter]):
        block = registry.make(kind, {**required, parameter: value})
        assert canonical_json(block.to_dict()) == canonical_json(required), value
        assert block == registry.make(kind, required)
        found, default = block.parameters[parameter], DEFAULTS[kind][name][parameter]
        assert canonical_json(found) == canonical_json(default), "the code is given it all the same"


@pytest.mark.parametrize(
    ("kind", "name", "parameter"), [one for one in PARAMETERS if one not in WITHOUT_OTHERS]
)
def test_any_other_value_is_kept(kind: str, name: str, parameter: str) -> None:
    required = {"name": name, **REQUIRED.get((kind, name), {})}
    names = [parameter, *([BESIDE[parameter]] if parameter in BESIDE else [])]
    expected = {**required, **{name: OTHERS[name] for name in names}}
    assert canonical_json(registry.make(kind, expected).to_dict()) == canonical_json(expected)


RUNS: dict[str, dict[str, Any]] = {
    "plain": {
        "dataset": {"name": "digits"},
        "model": {"name": "convnet", "width": 2, "scale_invariant": True},
        "optimiser": {"name": "sgd", "learning_rate": 0.1},
        "batch_size": 128,
        "seed": 0,
    }
}
RUNS["another"] = {
    **RUNS["plain"],
    "dataset": {"name": "digits", "label_noise": 0.1},
    "optimiser": {"name": "adam", "learning_rate": 0.1, "weight_decay": 0.01},
    "constraint": {"name": "fixed_norm"},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    "precision": "float64",
}
RUNS["on a sphere"] = {
    **RUNS["plain"],
    "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.001},
    "constraint": {"name": "equal_filter_norms"},
}
RUNS["fork"] = {
    **RUNS["plain"],
    "parent": {"run": RUNS["another"], "epochs": 9, "at": {"name": "at_epoch", "epoch": 3}},
}
RUNS["fork with another rate"] = {
    **RUNS["on a sphere"],
    "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.01},
    "parent": {"run": RUNS["on a sphere"], "epochs": 9, "at": {"name": "at_epoch", "epoch": 9}},
}
RUNS["fork of a fork"] = {
    **RUNS["another"],
    "parent": {
        "run": RUNS["fork"],
        "epochs": 9,
        "at": {"name": "before_destabilisation", "epochs": 3},
    },
}


def written_out(run: dict[str, Any]) -> dict[str, Any]:
    """The run with every default, by the tables of this file."""
    values = RUN_DEFAULTS | run
    for kind, value in values.items():
        if isinstance(value, dict) and "name" in value:
            values[kind] = {**DEFAULTS.get(kind, {}).get(value["name"], {}), **value}
    if values["parent"] is not None:
        rule = values["parent"]["at"]
        at = {**DEFAULTS["fork"].get(rule["name"], {}), **rule}
        values["parent"] = {"run": written_out(values["parent"]["run"]), "epochs": 9, "at": at}
    return values


def otherwise(value: Any, spelling: int) -> Any:
    """A value with one of the spellings of every number in it."""
    if isinstance(value, dict):
        return {key: otherwise(item, spelling) for key, item in value.items()}
    if isinstance(value, list):
        return [otherwise(item, spelling) for item in value]
    ways = list(spellings(value))
    return ways[spelling % len(ways)]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("spelling", range(5))
def test_a_run_with_all_defaults_written_out_is_the_same(name: str, spelling: int) -> None:
    short, long = RUNS[name], written_out(RUNS[name])
    spec = RunSpec.from_dict(otherwise(long, spelling))
    assert canonical_json(spec.to_dict()) == canonical_json(short)
    assert canonical_json(RunSpec.from_dict(short).to_dict()) == canonical_json(short)
    assert spec == RunSpec.from_dict(short)
    full = canonical_json(long).replace('"parent":null,', "")
    assert canonical_json(spec.full_dict()) == full
    digests = {run_identity(RunSpec.from_dict(run), "0" * 16).digest for run in (short, long)}
    assert digests == {run_identity(spec, "0" * 16).digest}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("batch_size", 64),
        ("precision", "tf32"),
        ("gradient", "full_batch"),
        ("dataset", {"name": "digits", "noise_seed": 1}),
        ("model", {"name": "convnet", "width": 2, "scale_invariant": False}),
        ("model", {"name": "convnet", "width": 2, "scale_invariant": True, "head_seed": 0}),
        ("optimiser", {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5}),
        ("schedule", {"name": "cosine", "horizon": 5}),
        ("constraint", {"name": "fixed_norm"}),
        ("constraint", {"name": "equal_filter_norms"}),
        ("loss", {"name": "cross_entropy", "label_smoothing": 0.5}),
        ("augmentation", {"name": "crop_and_flip", "padding": 1, "flip": True}),
        ("parent", {"run": RUNS["plain"], "epochs": 9, "at": {"name": "at_epoch", "epoch": 3}}),
    ],
)
def test_every_value_is_part_of_a_runs_identity(key: str, value: Any) -> None:
    before, after = (
        run_identity(RunSpec.from_dict(run), "0" * 16)
        for run in (RUNS["plain"], {**RUNS["plain"], key: value})
    )
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 8),
        ("at", {"name": "at_epoch", "epoch": 4}),
        ("run", {**RUNS["another"], "seed": 1}),
    ],
)
def test_every_value_of_a_parent_is_part_of_its_forks_identity(key: str, value: Any) -> None:
    other = {**RUNS["fork"], "parent": {**RUNS["fork"]["parent"], key: value}}
    digests = {run_identity(RunSpec.from_dict(run), "").digest for run in (RUNS["fork"], other)}
    assert len(digests) == 2


def test_the_data_set_and_the_parent_are_part_of_a_runs_identity() -> None:
    spec = RunSpec.from_dict(RUNS["fork of a fork"])
    one, other = (run_identity(spec, digest * 16) for digest in "01")
    assert one.digest != other.digest
    assert one.inputs["dataset"] == "0" * 16
    assert spec.parent is not None
    assert one.inputs["parent"] == run_identity(spec.parent.run, "0" * 16).digest
    rules = {name: run_identity(RunSpec.from_dict(RUNS[name]), "").modules for name in RUNS}
    looks_at_the_course = [name for name in RUNS if "perigee.measures.passes" in rules[name]]
    assert looks_at_the_course == ["fork of a fork"]

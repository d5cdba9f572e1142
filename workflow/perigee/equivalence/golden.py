"""Golden products: data sets, and short, small runs that together reach every kind of update.

The names of its blocks determine a run's code. Each combination of names is a kind of run, and its
golden runs go through the settings below, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perigee.errors import PerigeeError
from perigee.registry import REGISTRY, is_own
from perigee.spec import RunSpec

EPOCHS = 2
"""The epochs of a golden run, and of the parent of a fork."""

SETTINGS: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "task": {
        "classification": ({},),
        "streamed_classification": ({},),
        "streamed_detection": ({},),
    },
    "model": {
        "convnet": (
            {"width": 1, "scale_invariant": True},
            {"width": 1, "scale_invariant": False},
            {"width": 1, "scale_invariant": True, "head_norm": 3.0, "head_seed": 1},
        ),
        "mask_rcnn": (
            {
                "blocks": [1, 1, 1, 1],
                "width": 2,
                "pyramid_width": 4,
                "head_width": 8,
                "smallest_anchor": 4,
                "proposals": 16,
            },
        ),
        "post_activation_resnet": (
            {"block": "basic", "blocks": [1, 1, 1, 1], "width": 1, "stem": "small"},
            {"block": "bottleneck", "blocks": [1, 1, 1, 1], "width": 1, "stem": "small"},
            {"block": "basic", "blocks": [2, 1, 1, 1], "width": 1, "stem": "large"},
        ),
        "resnet18": (
            {"width": 1, "scale_invariant": True},
            {"width": 1, "scale_invariant": False},
            {"width": 1, "scale_invariant": True, "head_norm": 3.0, "head_seed": 1},
        ),
    },
    "optimiser": {
        "adam": (
            {"learning_rate": 0.01, "weight_decay": 0.01},
            {"learning_rate": 0.01, "weight_decay": 0.01, "betas": [0.5, 0.7]},
            {"learning_rate": 0.01, "weight_decay": 0.01, "undecayed": ["scale_invariant"]},
        ),
        "adamw": (
            {"learning_rate": 0.01, "weight_decay": 0.01},
            {"learning_rate": 0.01, "weight_decay": 0.01, "betas": [0.5, 0.7]},
            {"learning_rate": 0.01, "weight_decay": 0.01, "undecayed": ["scale_invariant"]},
        ),
        "projected_sgd": ({"effective_learning_rate": 0.01},),
        "sgd": (
            {"learning_rate": 0.1, "weight_decay": 0.01},
            {"learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.9},
            {"learning_rate": 0.1, "weight_decay": 0.01, "undecayed": ["scale_invariant"]},
        ),
    },
    "schedule": {
        "constant": ({},),
        "cosine": ({"horizon": 3},),
        "rescaled_steps": (
            {"milestones": [1], "gamma": 0.1},
            {"milestones": [1], "gamma": 0.1, "velocity": "reset"},
        ),
        "steps": (
            {"milestones": [1], "gamma": 0.1},
            {"milestones": [1], "gamma": 0.1, "warm_up_steps": 3, "warm_up_from": 0.1},
        ),
    },
    "constraint": {
        "equal_filter_norms": ({}, {"norm": 3.0}),
        "fixed_norm": ({}, {"norm": 3.0}),
        "none": ({},),
    },
    "loss": {
        "cross_entropy": ({}, {"label_smoothing": 0.1}),
    },
    "augmentation": {
        "crop_and_flip": ({"padding": 1, "flip": True}, {"padding": 1, "flip": False}),
        "horizontal_flip": ({},),
        "none": ({},),
        "resized_crop_and_flip": ({},),
    },
    "fork": {
        "at_epoch": ({"epoch": 1},),
        "at_norm_before_destabilisation": ({"factor": 1.1}, {"factor": 1.03, "number": -1}),
        "before_destabilisation": ({"epochs": 30}, {"epochs": 60, "number": 2}),
    },
    "dataset": {
        "cifar10": ({},),
        "cifar100": ({},),
        "coco": (),
        "coloured_shapes": (),
        "digit_pairs": ({}, {"test_pairs_per_class": 25}),
        "digits": ({}, {"label_noise": 0.1, "noise_seed": 1}, {"train_images": 400}),
        "fashion_mnist": ({},),
        "image_folder": (),
    },
    "measure": {
        "checkpoints": ({}, {"interval": 2}),
        "filters": ({},),
        "full_gradient_norm": ({},),
        "layers": ({},),
        "metrics": ({},),
        "recomputed_metrics": ({},),
        "recomputed_test_hits": ({},),
        "steps": ({},),
        "test_hits": ({},),
        "thinned_layers": ({"every": 3}, {"every": 2, "in_full": ["features.0.0"]}),
    },
}
"""The parameters that reach each branch of a block's code. Data sets with an empty entry are made
of files, and no golden product compares how they are made."""

FILES: Mapping[str, Any] = {
    "name": "image_folder",
    "folder": "images",
    "train_images": 90,
    "resolution": 16,
}
OBJECTS: Mapping[str, Any] = {
    "name": "coloured_shapes",
    "train_images": 10,
    "test_images": 3,
    "side": 32,
    "resize": 32,
    "longest_side": 32,
}
"""The data sets of tasks that stream images."""

PLAIN: Mapping[str, Mapping[str, Any]] = {
    "classification": {"dataset": {"name": "digits"}, "batch_size": 40, "seed": 0},
    "streamed_classification": {"dataset": FILES, "batch_size": 40, "seed": 0},
    "streamed_detection": {"dataset": OBJECTS, "batch_size": 4, "seed": 0},
}
"""The rest of a run's spec, by its task; the batch sizes leave a smaller last mini-batch."""

FURTHER: Sequence[Mapping[str, Any]] = (
    {"precision": "float64", "seed": 1},
    {"gradient": "full_batch"},
    {"dataset": {"name": "cifar10"}},  # large images are laid out differently in memory
)
"""The ways in which further golden runs of a kind differ from the first; those of tasks other than
that of `BASE` keep their data set."""

BASE: Mapping[str, str] = {
    "task": "classification",
    "model": "convnet",
    "optimiser": "sgd",
    "schedule": "constant",
    "constraint": "none",
    "loss": "cross_entropy",
    "augmentation": "none",
}

GIVEN: Mapping[str, Sequence[str]] = {"streamed_detection": ["loss"]}
"""The kinds of blocks that a task takes with no other setting than the first."""

NEEDED: Mapping[str, Mapping[str, str]] = {
    "horizontal_flip": {"task": "streamed_detection", "model": "mask_rcnn"},
    "mask_rcnn": {"task": "streamed_detection"},
    "projected_sgd": {"constraint": "fixed_norm"},
    "resized_crop_and_flip": {"task": "streamed_classification"},
    "streamed_detection": {"model": "mask_rcnn"},
}
"""The blocks in place of those of `BASE` that a block needs beside it."""


def golden_products(planned: Iterable[RunSpec] = ()) -> list[dict[str, Any]]:
    """All golden products.

    Args:
        planned: runs whose combinations of blocks are included, beside those that replace one block
            of `BASE` by each registered block.

    Returns:
        Mappings: ``kind`` is "dataset", "run" or "measure", ``blocks`` names the blocks whose code
        counts, ``run`` is a run with this data set, the run itself, or the one that is measured,
        and ``measure`` is the measure.

    Raises:
        PerigeeError: `SETTINGS` lack a block.
    """
    kinds = [kind_with(kind, name) for kind in (*BASE, "fork") for name in REGISTRY[kind]]
    for spec in planned:
        fork = {} if spec.parent is None else {"fork": spec.parent.at.name}
        kinds.append({kind: spec.blocks[kind].name for kind in BASE} | fork)
    different = dict.fromkeys(tuple(kind.items()) for kind in kinds)
    base, metrics = golden_runs(BASE), {"name": "metrics"}
    products = [
        *(("dataset", [x["name"]], {**base[0], "dataset": x}, metrics) for x in _all("dataset")),
        *(
            ("run", [name for _, name in kind], run, metrics)
            for kind in different
            for run in golden_runs(dict(kind))
        ),
        *(("measure", [x["name"]], run, x) for x in _all("measure") for run in base),
    ]
    keys = ("kind", "blocks", "run", "measure")
    return [dict(zip(keys, product, strict=True)) for product in products]


def kind_with(kind: str, name: str) -> dict[str, str]:
    """The kind of run that has a block in place of that of `BASE`, or in addition."""
    return {**BASE, **NEEDED.get(name, {}), kind: name}


def golden_runs(kind: Mapping[str, str]) -> list[dict[str, Any]]:
    """The specs of the golden runs of one kind.

    The first has the first setting of each block; each of the others differs from it in one.

    Args:
        kind: names of blocks, with a "fork" or without.

    Raises:
        PerigeeError: `SETTINGS` lack a block.
    """
    settings = {block: _settings(block, name) for block, name in kind.items()}
    if not all(settings.values()):
        return []
    plain = PLAIN[kind["task"]]
    first = {**plain, **{block: choices[0] for block, choices in settings.items()}}
    given = GIVEN.get(kind["task"], ())
    others = [
        {block: other}
        for block, choices in settings.items()
        for other in choices[1:]
        if block not in given
    ]
    is_base = kind["task"] == BASE["task"]
    further = [change for change in FURTHER if is_base or "dataset" not in change]
    specs = [{**first, **change} for change in ({}, *others, *further)]
    if "fork" not in kind:
        return specs
    rules = [spec.pop("fork") for spec in specs]
    return [
        {**run, "parent": {"run": run, "epochs": EPOCHS, "at": rule}}
        for run, rule in zip(specs, rules, strict=True)
    ]


def _all(kind: str) -> list[dict[str, Any]]:
    return [block for name in REGISTRY[kind] for block in _settings(kind, name)]


def _settings(kind: str, name: str) -> list[dict[str, Any]]:
    """A block with each of its settings; none for one of the user's own, which nothing proves."""
    if is_own(REGISTRY[kind][name]):
        return []
    if name not in SETTINGS[kind]:
        raise PerigeeError(
            f"There are no golden runs with the {kind} '{name}'; add its parameters to SETTINGS in "
            "workflow/perigee/equivalence/golden.py."
        )
    return [{"name": name, **setting} for setting in SETTINGS[kind][name]]

"""Golden runs: short, small runs that together reach every kind of update.

The code of a run is settled by the names of its blocks. A kind of run is one combination of such
names; its golden runs go through the settings below.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perigee.errors import PerigeeError
from perigee.registry import REGISTRY
from perigee.spec import COMPONENT_FIELDS, RunSpec

RUN_BLOCKS = tuple(kind for kind in COMPONENT_FIELDS if kind != "dataset")
"""The kinds of block that the code of a run depends on; its data set has its own identity."""

AT_ONCE, CONTINUED = (2,), (1, 3)
"""Epochs of a golden run; one of each kind of run keeps checkpoints and is then gone on with."""

DATASET, ENLARGED = "digits", "cifar10"
"""The bundled data set; the one that digits enlarged to the size of its images stand in for."""

DATASETS = {DATASET: "digits", ENLARGED: "digits enlarged to 32x32"}
"""Each in words. Small and large images are laid out differently in memory."""

SETTINGS: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "model": {
        "convnet": (
            {"width": 1, "scale_invariant": True},
            {"width": 1, "scale_invariant": False},
        ),
        "resnet18": (
            {"width": 1, "scale_invariant": True},
            {"width": 1, "scale_invariant": False},
        ),
    },
    "optimiser": {
        "adam": ({"learning_rate": 0.01, "weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999},),
        "sgd": (
            {"learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0},
            {"learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.9},
        ),
    },
    "schedule": {
        "constant": ({},),
        "cosine": ({"horizon": 3},),
        "steps": ({"milestones": [1, 2], "decay": 0.1},),
    },
    "norm_control": {
        "free": ({},),
        "fixed": ({"norm": None}, {"norm": 3.0}),
    },
    "loss": {
        "cross_entropy": ({"label_smoothing": 0}, {"label_smoothing": 0.1}),
    },
    "augmentation": {
        "crop_and_flip": ({"padding": 1, "flip": True}, {"padding": 1, "flip": False}),
        "none": ({},),
    },
}
"""Of every registered block the parameters that reach each branch of its code."""

ONE_AT_A_TIME = ("loss", "augmentation")
"""Kinds of block whose further settings do not act on those of others: a run each is enough."""

BATCH_SIZE = 500
"""Leaves a smaller last mini-batch."""

BASE = {
    "model": "convnet",
    "optimiser": "sgd",
    "schedule": "constant",
    "norm_control": "free",
    "loss": "cross_entropy",
    "augmentation": "none",
}

PRECISIONS = ("float64", "float32")
"""Each setting comes with both."""


@dataclass(frozen=True)
class RunKind:
    """A combination of blocks."""

    model: str
    optimiser: str
    schedule: str
    norm_control: str
    loss: str
    augmentation: str

    @property
    def components(self) -> dict[str, str]:
        """Kind of block -> its name."""
        return dict(vars(self))

    @property
    def any_spec(self) -> dict[str, Any]:
        """A spec with the code of this kind, for asking for its digest and nothing else."""
        blocks = {kind: {"name": name} for kind, name in self.components.items()}
        rates = {"learning_rate": 1, "weight_decay": 0}
        return {
            **blocks,
            "dataset": {"name": DATASET},
            "optimiser": blocks["optimiser"] | rates,
            "gradient": "mini_batch",
            "batch_size": 1,
            "seed": 0,
            "precision": PRECISIONS[0],
        }

    def __str__(self) -> str:
        return ", ".join(vars(self).values())


def run_kinds(planned: Iterable[RunSpec]) -> list[RunKind]:
    """Those of planned runs, and each registered block in the place of one of `BASE`."""
    of_plans = [{kind: getattr(spec, kind).name for kind in RUN_BLOCKS} for spec in planned]
    of_registry = [BASE | {kind: name} for kind in RUN_BLOCKS for name in REGISTRY[kind]]
    every = (RunKind(**names) for names in (BASE, *of_plans, *of_registry))
    return list(dict.fromkeys(every))


@dataclass(frozen=True)
class GoldenRun:
    """A short run.

    Attributes:
        words: what is special of it.
        spec: as in a study file; defaults are not filled in.
        epochs: trained one after the other.
    """

    words: str
    spec: Mapping[str, Any]
    epochs: Sequence[int]


def golden_runs(kind: RunKind) -> list[GoldenRun]:
    """All combinations of the settings of a kind's blocks, but for those of `ONE_AT_A_TIME`.

    The last is the one that is gone on with: of `BASE` one with momentum, whose state counts.

    Raises:
        PerigeeError: `SETTINGS` lack a block.
    """
    settings = [_settings(block, name) for block, name in kind.components.items()]
    every = list(itertools.product(*(range(len(choices)) for choices in settings)))
    others = [place for place, block in enumerate(kind.components) if block in ONE_AT_A_TIME]
    combinations = [one for one in every if not any(one[place] for place in others)]
    alone = [one for one in every if sum(map(bool, one)) == 1 and any(one[n] for n in others)]
    # What is special of large images and of full batches does not depend on the settings: one run
    # with each is enough.
    wanted = [
        (ENLARGED, "mini_batch", combinations[0]),
        (DATASET, "full_batch", combinations[0]),
        *((DATASET, "mini_batch", positions) for positions in (*alone, *combinations)),
    ]
    found = []
    for seed, (dataset, gradient, positions) in enumerate(wanted):
        blocks = {
            block: {"name": name, **choices[position]}
            for (block, name), choices, position in zip(
                kind.components.items(), settings, positions, strict=True
            )
        }
        enlarged = dataset == ENLARGED
        precision = PRECISIONS[(sum(positions) + enlarged) % len(PRECISIONS)]
        spec = {
            "dataset": {"name": dataset},
            **blocks,
            "gradient": gradient,
            "batch_size": BATCH_SIZE,
            "seed": seed,
            "precision": precision,
        }
        words = f"{DATASETS[dataset]}, {_in_words(blocks)}, {gradient}, {precision}"
        is_last = seed == len(wanted) - 1
        found.append(GoldenRun(words, spec, CONTINUED if is_last else AT_ONCE))
    return found


def _settings(block: str, name: str) -> Sequence[Mapping[str, Any]]:
    try:
        return SETTINGS[block][name]
    except KeyError as error:
        raise PerigeeError(
            f"There are no golden runs with the {block.replace('_', ' ')} '{name}'; add its "
            "parameters to SETTINGS in workflow/perigee/equivalence/golden.py."
        ) from error


def _in_words(blocks: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        " ".join(
            [str(block["name"])]
            + [f"{key}={value}" for key, value in block.items() if key != "name"]
        )
        for block in blocks.values()
    )

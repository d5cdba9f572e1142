"""Small runs of the smallest networks on a few real images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.kernel.execution import DTYPES, Execution
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Start, Trainer
from perigee.spec import RunSpec
from support.reference_training import CLASSES, HEAD_NORM, MEAN, STD, Settings, few_digits


@cache
def few_images() -> ArrayDataset:
    """The images of `reference_training.few_digits`."""
    train_images, train_labels, test_images, test_labels = few_digits()
    return ArrayDataset(
        splits={
            "train": ArraySplit(train_images, train_labels),
            "test": ArraySplit(test_images, test_labels),
        },
        classes=CLASSES,
        channel_means=(MEAN,),
        channel_stds=(STD,),
        origin="a few digits",
    )


def make_spec(settings: Settings, precision: str = "float64", **changes: Any) -> RunSpec:
    """The spec of a run.

    Args:
        settings: the run's settings.
        precision: the run's precision.
        changes: fields of the spec that differ from the settings, as plain values.
    """
    rule = {
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "undecayed": list(settings.undecayed),
    }
    if settings.optimiser == "sgd":
        rule["momentum"] = settings.momentum
    plain: dict[str, Any] = {
        "dataset": {"name": "digits"},
        "model": {
            "name": settings.model,
            "width": settings.width,
            "scale_invariant": settings.scale_invariant,
            "head_norm": HEAD_NORM,
        },
        "optimiser": {"name": settings.optimiser, **rule},
        "loss": {"name": "cross_entropy", "label_smoothing": settings.label_smoothing},
        "gradient": "full_batch" if settings.full_batch else "mini_batch",
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "precision": precision,
    }
    if settings.milestones:
        milestones = list(settings.milestones)
        plain["schedule"] = {"name": "steps", "milestones": milestones, "gamma": 0.1}
    elif settings.cosine_horizon is not None:
        plain["schedule"] = {"name": "cosine", "horizon": settings.cosine_horizon}
    if settings.norm is not None:
        plain["constraint"] = {"name": "fixed_norm", "norm": settings.norm}
    if settings.padding is not None:
        padding = settings.padding
        plain["augmentation"] = {"name": "crop_and_flip", "padding": padding, "flip": True}
    return RunSpec.from_dict(plain | changes)


def make_trainer(
    run: Settings | RunSpec,
    precision: str = "float64",
    memory_format: torch.memory_format = torch.contiguous_format,
    dataset: ArrayDataset | None = None,
    start: Start | None = None,
    ranks: Ranks | None = None,
    epoch_order: Callable[[int], np.ndarray] | None = None,
) -> Trainer:
    """A trainer on the CPU, on the few images if no others are given.

    Args:
        run: the run's settings, or its spec, which has the precision itself.
        precision: the run's precision.
        memory_format: layout of images, activations and weights.
        dataset, start, ranks, epoch_order: see `Trainer`.
    """
    spec = make_spec(run, precision) if isinstance(run, Settings) else run
    execution = Execution(torch.device("cpu"), DTYPES[spec.precision], memory_format)
    return Trainer(spec, dataset or few_images(), execution, start, ranks, epoch_order)

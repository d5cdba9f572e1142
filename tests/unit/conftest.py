"""What the unit tests share: a few real images, and runs of the smallest networks on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reference_training import (
    CLASSES,
    HEAD_NORM,
    MEAN,
    STD,
    Settings,
    few_digits,
)

from perigee.data.arrays import ArrayDataset
from perigee.spec import Component, RunSpec
from perigee.training.execution import Execution
from perigee.training.trainer import Trainer


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Sums in another order are other sums; bit-for-bit comparisons need one order.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def few_images() -> ArrayDataset:
    """The images of `reference_training.few_digits`."""
    return ArrayDataset(
        *few_digits(),
        classes=CLASSES,
        channel_means=(MEAN,),
        channel_stds=(STD,),
        origin="a few digits",
    )


def _spec(settings: Settings, precision: str = "float64") -> RunSpec:
    if settings.milestones:
        schedule = Component("steps", {"milestones": list(settings.milestones), "decay": 0.1})
    elif settings.cosine_horizon is not None:
        schedule = Component("cosine", {"horizon": settings.cosine_horizon})
    else:
        schedule = Component("constant")
    if settings.norm is None:
        norm_control = Component("free")
    else:
        norm_control = Component("fixed", {"norm": settings.norm})
    if settings.padding is None:
        augmentation = Component("none")
    else:
        augmentation = Component("crop_and_flip", {"padding": settings.padding, "flip": True})
    return RunSpec(
        dataset=Component("digits"),
        model=Component(
            settings.model,
            {
                "width": settings.width,
                "scale_invariant": settings.scale_invariant,
                "head_norm": HEAD_NORM,
            },
        ),
        optimiser=Component(
            settings.optimiser,
            {
                "learning_rate": settings.learning_rate,
                "weight_decay": settings.weight_decay,
                **(
                    {"momentum": settings.momentum}
                    if settings.optimiser == "sgd"
                    else {"beta_1": 0.9, "beta_2": 0.999}
                ),
            },
        ),
        schedule=schedule,
        norm_control=norm_control,
        loss=Component("cross_entropy", {"label_smoothing": settings.label_smoothing}),
        augmentation=augmentation,
        gradient="full_batch" if settings.full_batch else "mini_batch",
        batch_size=settings.batch_size,
        seed=settings.seed,
        precision=precision,
    )


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., RunSpec]:
    """A run spec with the given `Settings`."""
    return _spec


@pytest.fixture(scope="session")
def make_trainer(few_images: ArrayDataset) -> Callable[..., Trainer]:
    """A trainer on the few images with the given `Settings`, on the CPU."""

    def make(
        settings: Settings,
        precision: str = "float64",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Trainer:
        dtype = torch.float64 if precision == "float64" else torch.float32
        execution = Execution(torch.device("cpu"), dtype, memory_format)
        return Trainer(_spec(settings, precision), few_images, execution)

    return make

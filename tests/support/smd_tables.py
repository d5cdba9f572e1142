"""Runs on which the claims of the paper `smd` hold, and others that lack what they say.

Their unit gradients are random and orthogonal to the weights, as the theorems assume
(`support.random_gradients`), with what a claim is about planted into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee import registry
from perigee.analysis.inputs import RunInput
from perigee.configuration.requests import TableRequest
from perigee.planning.plan import read_requests
from support.random_gradients import PER_EPOCH, Floats, random_steps, write_run_of_layers

MOMENTUM = "optimiser.momentum"
SGD, SGDM = 0.0, 0.9
LENGTH = 10_000
EPOCHS = np.arange(LENGTH // PER_EPOCH + 1)
TIME = np.arange(LENGTH)[:, None] / LENGTH
"""From 0 to 1, (steps, 1)."""

SIZE = np.full((LENGTH, 2), 3.0)
"""The mean squared norm of unit gradients of each layer, (steps, layers)."""


@cache
def requests() -> Mapping[tuple[str, str], TableRequest]:
    """The tables of the paper's figures at laptop scale, by the figure's key and their name."""
    _, figures = read_requests(["smd"], "laptop")
    return {(figure.key, table.name): table for figure in figures for table in figure.tables}


@dataclass(frozen=True, eq=False)
class Process:
    """The course of a run, from a norm that SGD takes 4,000 steps from, and momentum 400.

    Attributes:
        momentum: alpha.
        size: the mean squared norm of unit gradients, (steps, layers).
        start: the norm before the first step.
        stages: eta of each of some stages of equal length.
        weight_decay: lambda.
        told_decay: what the run's settings say that it is, relative to it.
        along, is_rescaled: see `random_steps`.
        loss_epochs: how fast the loss falls from 4 to 1, where a run is given none.
    """

    momentum: float = 0.0
    size: Floats = field(default_factory=lambda: SIZE)
    start: float = 8.4
    stages: tuple[float, ...] = (0.05,)
    weight_decay: float = 0.01
    told_decay: float = 1.0
    along: float | None = None
    is_rescaled: bool = False
    loss_epochs: float = 60.0

    @property
    def rates(self) -> Floats:
        """Eta of every step, (steps,)."""
        return np.repeat(self.stages, LENGTH // len(self.stages))

    def write(
        self, folder: Path, swept: Mapping[str, Any], rows: NDArray[Any], loss: Floats | None
    ) -> RunInput:
        """The run with these rows of its measure ``layers``, and all its losses and errors."""
        decay = self.told_decay * self.weight_decay
        optimiser = {"name": "sgd", "weight_decay": decay, "momentum": self.momentum}
        if loss is None:
            loss = 1 + 3 * np.exp(-EPOCHS / self.loss_epochs)
        return write_run_of_layers(folder, rows, self.rates, optimiser, swept, loss)


@cache
def steps_of(process: Process, seeds: tuple[int, ...]) -> NDArray[Any]:
    """The measure ``layers`` of a run of each seed."""
    return random_steps(
        process.rates,
        process.weight_decay,
        process.momentum,
        start=process.start,
        size=process.size,
        seeds=[round(100 * process.momentum) + 1000 * seed for seed in seeds],
        along=process.along,
        is_rescaled=process.is_rescaled,
    )


@dataclass(frozen=True, eq=False)
class LayerRuns:
    """Runs of which a figure's tables can be made.

    Attributes:
        figure: the figure's key.
        swept: the keys that distinguish them.
        processes: what they do, by the values of these keys.
        losses: their losses and errors of every epoch, of those that are given any.
    """

    figure: str
    swept: tuple[str, ...]
    processes: Mapping[tuple[Any, ...], Process]
    losses: Mapping[tuple[Any, ...], Floats] = field(default_factory=dict)

    def table(self, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
        """The table of that name."""
        return made(self, name, seeds)

    def but(self, value: Any, process: Process) -> LayerRuns:
        """The runs, of which those with this value of the only key do something else."""
        return replace(self, processes={**self.processes, (value,): process})

    def losing(self, losses: Mapping[tuple[Any, ...], Floats]) -> LayerRuns:
        """The runs, some of which have other losses and errors."""
        return replace(self, losses={**self.losses, **losses})


@cache
def made(runs: LayerRuns, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    analysis = requests()[runs.figure, name].analysis
    with TemporaryDirectory() as folder:
        written = [
            process.write(
                Path(folder) / f"{place}-{seed}",
                {**dict(zip(runs.swept, values, strict=True)), "seed": seed},
                rows,
                runs.losses.get(values),
            )
            for place, (values, process) in enumerate(runs.processes.items())
            for seed, rows in zip(seeds, steps_of(process, seeds), strict=True)
        ]
        table: pd.DataFrame = registry.load(analysis)(written, **analysis.parameters)
    return table


Planted = tuple[LayerRuns, LayerRuns]
"""Runs that show what a claim says, and runs that lack it."""

# smd_fig3

OF_SGD, OF_SGDM = Process(), Process(momentum=SGDM)
USUAL = LayerRuns("smd_fig3", (MOMENTUM,), {(SGD,): OF_SGD, (SGDM,): OF_SGDM})


def sgd(**changed: Any) -> LayerRuns:
    """Runs of which SGD's do something else."""
    return USUAL.but(SGD, replace(OF_SGD, **changed))


def sgdm(**changed: Any) -> LayerRuns:
    """Runs of which those with momentum do something else."""
    return USUAL.but(SGDM, replace(OF_SGDM, **changed))


VANISHING = SIZE * np.exp(-25 * TIME)
"""Those of a network that interpolates: the norm cannot fall as fast as its equilibrium."""

BURSTS = np.exp(1.5 * np.random.default_rng(0).standard_normal((LENGTH, 2)))
ONE_LAYER = SIZE * np.concatenate([np.exp(-25 * TIME), np.ones_like(TIME)], axis=1)
"""The unit gradients of the first layer vanish."""

ONE_ZERO = SIZE.copy()
ONE_ZERO[9000] = 0.0
INSIDE = {"start": 3.0, "stages": (0.02,), "weight_decay": 0.0005, "along": 0.0}
"""With momentum inside the theorem: lambda eta is 1e-5 and velocities are perpendicular."""


def moving(turns: float) -> LayerRuns:
    """Runs whose mean unit gradients rise and fall so many times."""
    size = SIZE * np.exp(np.sin(2 * np.pi * turns * TIME))
    return sgd(size=size).but(SGDM, replace(OF_SGDM, size=size))


def growing(sign: int) -> LayerRuns:
    """Runs of SGD whose mean unit gradients grow, or fall."""
    return sgd(size=SIZE * (2 + sign * TIME))


OF_EQUILIBRIUM: dict[str, Planted] = {
    # The first norm is that of equilibrium.
    "far_from_equilibrium_at_first": (USUAL, sgd(start=1.655)),
    "angular_update_of_sgd": (USUAL, sgd(size=VANISHING)),
    "angular_update_of_sgdm": (USUAL, sgdm(size=VANISHING**8)),
    "norm_of_sgd": (USUAL, sgd(size=VANISHING)),
    "norm_of_sgdm": (USUAL, sgdm(size=VANISHING**8)),
    # Its equilibrium moves up and down faster than the norm can follow.
    "norm_follows_its_equilibrium": (moving(0.75), moving(15)),
    # SGD starts near its equilibrium.
    "momentum_arrives_sooner": (USUAL, sgd(start=2.1)),
    "larger_variance_with_momentum": (USUAL, sgd(size=SIZE * BURSTS)),
    "velocity_is_perpendicular_to_the_gradient": (USUAL, sgdm(along=0.2)),
    "all_layers_alike": (USUAL, sgd(size=ONE_LAYER)),
    "all_layers_near_their_equilibrium": (USUAL, sgd(size=ONE_LAYER)),
    "before_the_loss": (USUAL, sgdm(loss_epochs=3.0)),
    "unit_gradients_grow_with_sgd": (growing(1), growing(-1)),
    "bounded_below_with_sgd": (USUAL, sgd(size=ONE_ZERO)),
    "smooth_with_sgd": (USUAL, growing(1)),
    "bounded_below_with_momentum": (sgdm(**INSIDE), sgdm(**INSIDE, size=ONE_ZERO)),
}

# smd_fig4

SMALLER, LARGER = "smaller product", "larger product"
RATES = {0.05: 1.0, 0.025: 2.0}
"""The learning rates at laptop scale, with the weight decays of the smaller product over 0.02."""

OF_PRODUCTS: dict[tuple[str, float], Process] = {
    (SMALLER, SGD): Process(start=2.0, weight_decay=0.02),
    (SMALLER, SGDM): Process(SGDM, start=2.0, weight_decay=0.02),
    (LARGER, SGD): Process(start=2.0, weight_decay=0.04),
    (LARGER, SGDM): Process(SGDM, start=2.0, weight_decay=0.04),
}
LEVELS = {(SMALLER, SGD): 1.0, (LARGER, SGD): 1.2, (SMALLER, SGDM): 1.4, (LARGER, SGDM): 1.7}


def pairs(
    processes: Mapping[tuple[str, float], Process] = OF_PRODUCTS,
    levels: Mapping[tuple[str, float], float] = LEVELS,
    higher: float = 0.0,
) -> LayerRuns:
    """Runs at two pairs of each product, with these late losses and errors.

    Args:
        processes, levels: by product and momentum.
        higher: how much higher losses and errors are at the higher learning rate.
    """
    runs, losses = {}, {}
    for key, process in processes.items():
        for rate, factor in RATES.items():
            values = (*key, rate, factor * OF_PRODUCTS[key].weight_decay)
            runs[values] = process
            level = levels[key] + higher * (rate == max(RATES))
            losses[values] = level + 3 * np.exp(-EPOCHS / 30)
    keys = ("label", MOMENTUM, "optimiser.learning_rate", "optimiser.weight_decay")
    return LayerRuns("smd_fig4", keys, runs, losses)


def vanishing(momentum: float) -> LayerRuns:
    """Runs of which those of the larger product and this momentum interpolate."""
    key = (LARGER, momentum)
    return pairs({**OF_PRODUCTS, key: replace(OF_PRODUCTS[key], size=VANISHING**8)})


ALIKE = pairs(levels=dict.fromkeys(LEVELS, 1.2))
"""Losses and errors depend on nothing."""

BY_RATE = pairs(higher=0.3)
"""They depend on the learning rate as well."""

OF_PAIRS: dict[str, Planted] = {
    "near_the_theoretical_value_with_sgd": (pairs(), vanishing(SGD)),
    "near_the_theoretical_value_with_sgdm": (pairs(), vanishing(SGDM)),
    "higher_loss_with_sgd": (pairs(), ALIKE),
    "higher_loss_with_sgdm": (pairs(), ALIKE),
    "higher_test_error_with_sgd": (pairs(), pairs(levels={**LEVELS, (LARGER, SGD): 0.9})),
    "higher_test_error_with_sgdm": (pairs(), pairs(levels={**LEVELS, (LARGER, SGDM): 1.3})),
    "same_loss_with_sgd": (pairs(), BY_RATE),
    "same_loss_with_sgdm": (pairs(), BY_RATE),
    "same_test_error_with_sgd": (pairs(), BY_RATE),
    "same_test_error_with_sgdm": (pairs(), BY_RATE),
    # With momentum steps are as large as without.
    "momentum_decreases_the_angular_update": (
        pairs(),
        pairs({(label, momentum): OF_PRODUCTS[label, SGD] for label, momentum in OF_PRODUCTS}),
    ),
    "momentum_increases_the_loss": (pairs(), ALIKE),
    "momentum_increases_the_test_error": (
        pairs(),
        pairs(levels={**LEVELS, (SMALLER, SGDM): 0.9, (LARGER, SGDM): 0.9}),
    ),
}

# smd_fig5

STANDARD, RESCALED = "standard", "rescaled"
OF_STANDARD = Process(SGDM, start=5.0, stages=(0.2, 0.02, 0.002, 0.0002), weight_decay=0.005)
"""Stages of 2,500 steps, of which a new equilibrium takes 1,152, 11,513 and 115,130."""

OF_RESCALED = replace(OF_STANDARD, is_rescaled=True)
DECAYED = LayerRuns("smd_fig5", ("label",), {(STANDARD,): OF_STANDARD, (RESCALED,): OF_RESCALED})
AS_RESCALED = DECAYED.but(STANDARD, OF_RESCALED)
SLOWER = DECAYED.but(STANDARD, replace(OF_STANDARD, weight_decay=0.0005, start=8.9))
LESS_THAN_TOLD = DECAYED.but(STANDARD, replace(OF_STANDARD, told_decay=4.0))
"""The weights decay less than the settings say."""

OF_DECAYS: dict[str, Planted] = {
    "falls_below_equilibrium_at_once": (DECAYED, AS_RESCALED),
    "arrives_in_the_second_stage": (DECAYED, SLOWER),
    "arrives_in_the_time_of_the_corollary": (DECAYED, LESS_THAN_TOLD),
    "does_not_arrive_in_the_third_stage": (DECAYED, AS_RESCALED),
    "does_not_arrive_in_the_fourth_stage": (DECAYED, AS_RESCALED),
    "follows_the_course_of_the_theorems": (DECAYED, LESS_THAN_TOLD),
    "stays_in_equilibrium_if_rescaled": (DECAYED, DECAYED.but(RESCALED, OF_STANDARD)),
    "nearer_to_equilibrium_if_rescaled": (
        DECAYED,
        AS_RESCALED.but(RESCALED, OF_STANDARD),
    ),
}

OF_COCO = Process(SGDM, start=8.9, stages=(0.2, 0.2, 0.02, 0.002), weight_decay=0.0005)
"""Three stages of 5,000, 2,500 and 2,500 steps; after the first, a new equilibrium takes 11,513."""

OF_RESCALED_COCO = replace(OF_COCO, is_rescaled=True)
COCO = LayerRuns("smd_fig5", ("label",), {(STANDARD,): OF_COCO, (RESCALED,): OF_RESCALED_COCO})
COCO_AS_RESCALED = COCO.but(STANDARD, OF_RESCALED_COCO)

OF_DECAYS |= {
    "coco_falls_below_equilibrium_at_once": (COCO, COCO_AS_RESCALED),
    "coco_does_not_arrive_in_the_second_stage": (COCO, COCO_AS_RESCALED),
    "coco_does_not_arrive_in_the_third_stage": (COCO, COCO_AS_RESCALED),
    "coco_stays_in_equilibrium_if_rescaled": (COCO, COCO.but(RESCALED, OF_COCO)),
    "coco_nearer_to_equilibrium_if_rescaled": (COCO, COCO_AS_RESCALED.but(RESCALED, OF_COCO)),
}

# smd_fig6

OF_STAGES = Process(SGDM, start=2.5, stages=(0.05, 0.005, 0.0005, 0.00005), weight_decay=0.05)
"""Stages of 2,500 steps, of which a new equilibrium takes 461, 4,606 and 46,060."""

SHRINKING = replace(OF_STAGES, weight_decay=0.0005, start=8.0)
"""Weights hardly decay, so that no angular update grows; as with Adam in the paper."""

IN_STAGES = 0.3 + 1.7 * np.exp(-EPOCHS / 20)
"""Losses and errors that only fall."""


def dipping(*stages: int) -> Floats:
    """Losses and errors that fall at the beginning of these stages and rise again."""
    part = EPOCHS * 4 / EPOCHS[-1]
    dips = [np.exp(-8 * (part - stage + 1)) * (part >= stage - 1) for stage in stages]
    return np.asarray(IN_STAGES - 0.2 * sum(dips))


BY_LABEL = ("SGDM", "SGDM, rescaled", "Adam", "AdamW")
BY_OPTIMISER = LayerRuns(
    "smd_fig6",
    ("label",),
    {
        ("SGDM",): OF_STAGES,
        ("SGDM, rescaled",): replace(OF_STAGES, is_rescaled=True),
        ("Adam",): SHRINKING,
        ("AdamW",): SHRINKING,
    },
    {(label,): dipping(2) if label == "SGDM" else IN_STAGES for label in BY_LABEL},
)


def dipping_in(**stages: tuple[int, ...]) -> LayerRuns:
    """Runs of which these dip in other stages."""
    names = {"sgdm": "SGDM", "rescaled": "SGDM, rescaled", "adam": "Adam"}
    return BY_OPTIMISER.losing({(names[key],): dipping(*stages[key]) for key in stages})


OF_OPTIMISERS: dict[str, Planted] = {
    "test_accuracy_drops_in_the_second_stage": (BY_OPTIMISER, dipping_in(sgdm=(3,))),
    "drops_less_in_the_third_stage": (BY_OPTIMISER, dipping_in(sgdm=(3,))),
    "drops_less_in_the_fourth_stage": (BY_OPTIMISER, dipping_in(sgdm=(4,))),
    "drops_less_if_rescaled": (BY_OPTIMISER, dipping_in(sgdm=(3,), rescaled=(2,))),
    "no_drop_with_adam": (BY_OPTIMISER, dipping_in(adam=(3,))),
    "train_loss_rises_in_the_second_stage": (BY_OPTIMISER, dipping_in(sgdm=(3,))),
    "train_loss_rises_less_if_rescaled": (BY_OPTIMISER, dipping_in(rescaled=(2,))),
    "angular_update_grows_in_the_second_stage": (BY_OPTIMISER, BY_OPTIMISER.but("SGDM", SHRINKING)),
    "angular_update_does_not_grow_if_rescaled": (
        BY_OPTIMISER,
        BY_OPTIMISER.but("SGDM, rescaled", OF_STAGES),
    ),
    "angular_update_does_not_grow_with_adam": (BY_OPTIMISER, BY_OPTIMISER.but("Adam", OF_STAGES)),
}

# All figures

Place = tuple[str, str]
"""A figure's key and a claim's name."""

TABLES: dict[Place, Planted] = {
    (f"smd_{figure}", name): planted
    for figure, claims in (
        ("fig3", OF_EQUILIBRIUM),
        ("fig4", OF_PAIRS),
        ("fig5", OF_DECAYS),
        ("fig6", OF_OPTIMISERS),
    )
    for name, planted in claims.items()
}

WITHOUT_PREMISE: dict[Place, LayerRuns] = {
    # Lambda eta is 5e-4, where no unit gradient could be large enough.
    ("smd_fig3", "bounded_below_with_momentum"): USUAL,
}
"""Runs that lack a claim's premise."""

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
from perigee.configuration.requests import TableRequest
from perigee.planning.plan import read_requests
from support.random_gradients import PER_EPOCH, Floats, random_steps, write_run_of_layers

MOMENTUM = "optimiser.momentum"
SGD, SGDM = 0.0, 0.9
LENGTH = 10_000
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
    """What a run does, from a norm that SGD takes 4,000 steps from, and momentum 400.

    Attributes:
        size: the mean squared norm of unit gradients, (steps, layers).
        start: the norm before the first step.
        learning_rate, weight_decay: eta and lambda.
        along: see `random_steps`.
        loss_epochs: how fast the loss falls from 4 to 1.
    """

    size: Floats = field(default_factory=lambda: SIZE)
    start: float = 8.4
    learning_rate: float = 0.05
    weight_decay: float = 0.01
    along: float | None = None
    loss_epochs: float = 60.0


USUAL_PROCESS = Process()


@cache
def steps_of(process: Process, momentum: float, seeds: tuple[int, ...]) -> NDArray[Any]:
    """The measure ``layers`` of a run of each seed."""
    return random_steps(
        np.full(LENGTH, process.learning_rate),
        process.weight_decay,
        momentum,
        start=process.start,
        size=process.size,
        seeds=[round(100 * momentum) + 1000 * seed for seed in seeds],
        along=process.along,
    )


@dataclass(frozen=True, eq=False)
class LayerRuns:
    """Runs of SGD and of SGD with momentum, of which a figure's tables can be made.

    Attributes:
        sgd, sgdm: what they do.
    """

    sgd: Process = USUAL_PROCESS
    sgdm: Process = USUAL_PROCESS

    def table(self, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
        """The table of that name."""
        return made(self, name, seeds)


@cache
def made(runs: LayerRuns, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    analysis = requests()["smd_fig3", name].analysis
    with TemporaryDirectory() as folder:
        written = [
            write_run_of_layers(
                Path(folder) / f"{momentum}-{seed}",
                rows,
                np.full(LENGTH, process.learning_rate),
                {"name": "sgd", "weight_decay": process.weight_decay, "momentum": momentum},
                {MOMENTUM: momentum, "seed": seed},
                1 + 3 * np.exp(-np.arange(LENGTH // PER_EPOCH + 1) / process.loss_epochs),
            )
            for momentum, process in ((SGD, runs.sgd), (SGDM, runs.sgdm))
            for seed, rows in zip(seeds, steps_of(process, momentum, seeds), strict=True)
        ]
        table: pd.DataFrame = registry.load(analysis)(written, **analysis.parameters)
    return table


Planted = tuple[LayerRuns, LayerRuns]
"""Runs that show what a claim says, and runs that lack it."""

USUAL = LayerRuns()
VANISHING = Process(size=SIZE * np.exp(-25 * TIME))
"""As where a network interpolates: the norm cannot fall as fast as its equilibrium."""

BURSTS = np.exp(1.5 * np.random.default_rng(0).standard_normal((LENGTH, 2)))
ONE_LAYER = Process(size=SIZE * np.concatenate([np.exp(-25 * TIME), np.ones_like(TIME)], axis=1))
"""The unit gradients of the first layer vanish."""

ONE_ZERO = SIZE.copy()
ONE_ZERO[9000] = 0.0
INSIDE = Process(start=3.0, learning_rate=0.02, weight_decay=0.0005, along=0.0)
"""With momentum inside the theorem: lambda eta is 1e-5 and velocities are perpendicular."""


def moving(turns: float) -> LayerRuns:
    """Runs whose mean unit gradients rise and fall so many times."""
    process = Process(size=SIZE * np.exp(np.sin(2 * np.pi * turns * TIME)))
    return LayerRuns(process, process)


def growing(sign: int) -> LayerRuns:
    """Runs of SGD whose mean unit gradients grow, or fall."""
    return LayerRuns(sgd=Process(size=SIZE * (2 + sign * TIME)))


OF_EQUILIBRIUM: dict[str, Planted] = {
    # The first norm is that of equilibrium.
    "far_from_equilibrium_at_first": (USUAL, LayerRuns(sgd=Process(start=1.655))),
    "angular_update_of_sgd": (USUAL, LayerRuns(sgd=VANISHING)),
    "angular_update_of_sgdm": (USUAL, LayerRuns(sgdm=replace(VANISHING, size=VANISHING.size**8))),
    "norm_of_sgd": (USUAL, LayerRuns(sgd=VANISHING)),
    "norm_of_sgdm": (USUAL, LayerRuns(sgdm=replace(VANISHING, size=VANISHING.size**8))),
    # Its equilibrium moves up and down faster than the norm can follow.
    "norm_follows_its_equilibrium": (moving(0.75), moving(15)),
    # SGD starts near its equilibrium.
    "momentum_arrives_sooner": (USUAL, LayerRuns(sgd=Process(start=2.1))),
    "larger_variance_with_momentum": (USUAL, LayerRuns(sgd=Process(size=SIZE * BURSTS))),
    "velocity_is_perpendicular_to_the_gradient": (USUAL, LayerRuns(sgdm=Process(along=0.2))),
    "all_layers_alike": (USUAL, LayerRuns(sgd=ONE_LAYER)),
    "all_layers_near_their_equilibrium": (USUAL, LayerRuns(sgd=ONE_LAYER)),
    "before_the_loss": (USUAL, LayerRuns(sgdm=Process(loss_epochs=3.0))),
    "unit_gradients_grow_with_sgd": (growing(1), growing(-1)),
    "bounded_below_with_sgd": (USUAL, LayerRuns(sgd=Process(size=ONE_ZERO))),
    "smooth_with_sgd": (USUAL, growing(1)),
    "bounded_below_with_momentum": (
        LayerRuns(sgdm=INSIDE),
        LayerRuns(sgdm=replace(INSIDE, size=ONE_ZERO)),
    ),
}

Place = tuple[str, str]
"""A figure's key and a claim's name."""

TABLES: dict[Place, Planted] = {
    ("smd_fig3", name): planted for name, planted in OF_EQUILIBRIUM.items()
}

WITHOUT_PREMISE: dict[Place, LayerRuns] = {
    # Lambda eta is 5e-4, where no unit gradient could be large enough.
    ("smd_fig3", "bounded_below_with_momentum"): USUAL,
}
"""Runs that lack a claim's premise."""

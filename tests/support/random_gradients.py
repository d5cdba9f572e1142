"""Runs whose unit gradients are random, and orthogonal to the weights, as the theorems assume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee.analysis.inputs import RunInput
from support.synthetic_runs import write_measure, write_run

Floats = NDArray[np.float64]

STEPS, PER_EPOCH, DIMENSIONS = 6000, 25, 60
NAMES = ["layer1.0.conv1.weight", "layer2.0.conv2.weight"]
LAYERS = len(NAMES)


def random_steps(
    rates: Floats,
    weight_decay: float,
    momentum: float,
    *,
    start: float,
    size: Floats,
    seeds: Sequence[int],
    along: float | None = None,
    is_rescaled: bool = False,
) -> NDArray[Any]:
    """The measure ``layers`` of runs of two layers under eqs. (10) and (11) of Wan et al. 2021.

    Args:
        rates: eta of every step, (steps,).
        weight_decay, momentum: lambda and alpha.
        start: the norm before the first step.
        size: the mean squared norm of the unit gradients, broadcast to (steps, layers).
        seeds: of the gradients, one a run.
        along: the mean component of unit gradients along the velocity, relative to their norm; if
            it is given they have no random one.
        is_rescaled: whether norms are divided, and velocities multiplied, by the fourth root of k
            where the learning rate is divided by k.

    Returns:
        A structured array, (runs, steps), with a number for each layer.
    """
    shape = len(seeds), LAYERS, DIMENSIONS
    sizes = np.broadcast_to(size, (len(rates), LAYERS))
    streams = [np.random.default_rng(seed) for seed in seeds]
    weights = np.stack([stream.standard_normal(shape[1:]) for stream in streams])
    weights *= start / _norms(weights)
    velocity = np.zeros(shape)
    names = ("norm", "gradient_norm", "angular_update", *["velocity_gradient"] * (momentum > 0))
    rows = np.zeros((len(seeds), len(rates)), [(name, "<f8", (LAYERS,)) for name in names])
    for step, (rate, before) in enumerate(zip(rates, [rates[0], *rates], strict=False)):
        if is_rescaled and rate != before:
            root = (before / rate) ** 0.25
            weights, velocity = weights / root, velocity * root
        norm = _norms(weights)
        unit = weights / norm
        gradient = np.stack([stream.standard_normal(shape[1:]) for stream in streams])
        if along is not None:
            direction = velocity / np.maximum(_norms(velocity), 1e-12)
            chance = (gradient * direction).sum(-1, keepdims=True)
            gradient += (along * np.sqrt(DIMENSIONS) - chance) * direction
        gradient -= (gradient * unit).sum(-1, keepdims=True) * unit
        gradient *= np.sqrt(sizes[step, :, None] / (DIMENSIONS - 1)) / norm
        rows["norm"][:, step] = norm[..., 0]
        rows["gradient_norm"][:, step] = _norms(gradient)[..., 0]
        if momentum:
            rows["velocity_gradient"][:, step] = (velocity * gradient).sum(-1)
        velocity = momentum * velocity + gradient + weight_decay * weights
        weights = weights - rate * velocity
        chord = _norms(weights / _norms(weights) - unit)[..., 0]
        rows["angular_update"][:, step] = 2 * np.arcsin(chord / 2)
    return rows


def _norms(vectors: Floats) -> Floats:
    found: Floats = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    return found


def write_run_of_layers(
    folder: Path,
    rows: NDArray[Any],
    rates: Floats,
    optimiser: Mapping[str, Any],
    swept: Mapping[str, Any],
    loss: Floats,
) -> RunInput:
    """A run with the measures ``metrics`` and ``layers``.

    Args:
        folder: the folder to create.
        rows: of each step, as `random_steps` gives them for a run.
        rates: eta of every step.
        optimiser: its settings, with the name.
        swept: the values that distinguish the run from others.
        loss: all losses and errors of every epoch, from 0.
    """
    epochs = np.arange(len(rates) // PER_EPOCH + 1)
    columns = dict.fromkeys(("train_loss", "train_error", "test_loss", "test_error"), loss)
    of_epochs = [*rates[::PER_EPOCH], rates[-1]]
    metrics = pd.DataFrame({"epoch": epochs, "learning_rate": of_epochs, **columns})
    run = write_run(folder, metrics, swept, steps_per_epoch=PER_EPOCH, optimiser=optimiser)
    layers = write_measure(folder / "layers", rows, layers=NAMES)
    return replace(run, measures={**run.measures, "layers": layers})


def write_random_run(
    folder: Path,
    learning_rate: float | Sequence[float],
    weight_decay: float,
    momentum: float,
    *,
    start: float = 2.0,
    size: float = 3.0,
    seed: int = 0,
    optimiser: str = "sgd",
    is_rescaled: bool = False,
) -> RunInput:
    """A run of `random_steps`, whose loss falls from 4 to 1.

    Args:
        folder: the folder to create.
        learning_rate: eta, or that of each of several stages of equal length.
        weight_decay, momentum, start, size, is_rescaled: see `random_steps`.
        seed: of the gradients.
        optimiser: the name that the run is given.
    """
    stages = [learning_rate] if isinstance(learning_rate, float) else list(learning_rate)
    rates = np.repeat(stages, STEPS // len(stages))
    (rows,) = random_steps(
        rates,
        weight_decay,
        momentum,
        start=start,
        size=np.array(size),
        seeds=[seed],
        is_rescaled=is_rescaled,
    )
    told = {"name": optimiser, "weight_decay": weight_decay, "momentum": momentum}
    loss = 1 + 3 * np.exp(-np.arange(len(rates) // PER_EPOCH + 1) / 60)
    return write_run_of_layers(folder, rows, rates, told, {"seed": seed}, loss)

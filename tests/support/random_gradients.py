"""Runs whose unit gradients are random, and orthogonal to the weights, as the theorems assume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from support.synthetic_runs import write_measure, write_run

STEPS, PER_EPOCH, DIMENSIONS = 6000, 25, 60
NAMES = ["layer1.0.conv1.weight", "layer2.0.conv2.weight"]


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
    """A run of two layers under eqs. (10) and (11) of Wan et al. 2021.

    Args:
        folder: the folder to create.
        learning_rate: eta, or that of each of several stages of equal length.
        weight_decay, momentum: lambda and alpha.
        start: the norm before the first step.
        size: the mean squared norm of the unit gradients.
        seed: of the gradients.
        optimiser: the name that the run is given.
        is_rescaled: whether norms are divided, and velocities multiplied, by the fourth root of k
            where the learning rate is divided by k.
    """
    random = np.random.default_rng(seed)
    stages = [learning_rate] if isinstance(learning_rate, float) else list(learning_rate)
    rates = np.repeat(stages, STEPS // len(stages))
    names = ("norm", "gradient_norm", "angular_update", *["velocity_gradient"] * (momentum > 0))
    rows = np.zeros(len(rates), [(name, "<f8", (2,)) for name in names])
    for layer in range(2):
        weights = random.standard_normal(DIMENSIONS)
        weights *= start / np.linalg.norm(weights)
        velocity = np.zeros(DIMENSIONS)
        for row, rate, before in zip(rows, rates, [rates[0], *rates], strict=False):
            if is_rescaled:
                root = (before / rate) ** 0.25
                weights, velocity = weights / root, velocity * root
            norm = np.linalg.norm(weights)
            unit = weights / norm
            gradient = random.standard_normal(DIMENSIONS)
            gradient -= gradient.dot(unit) * unit
            gradient *= math.sqrt(size / (DIMENSIONS - 1)) / norm
            row["norm"][layer] = norm
            row["gradient_norm"][layer] = np.linalg.norm(gradient)
            if momentum:
                row["velocity_gradient"][layer] = velocity.dot(gradient)
            velocity = momentum * velocity + gradient + weight_decay * weights
            weights = weights - rate * velocity
            chord = np.linalg.norm(weights / np.linalg.norm(weights) - unit)
            row["angular_update"][layer] = 2 * math.asin(chord / 2)
    epochs = np.arange(len(rates) // PER_EPOCH + 1)
    loss = 1 + 3 * np.exp(-epochs / 60)
    columns = dict.fromkeys(("train_loss", "train_error", "test_loss", "test_error"), loss)
    of_epochs = [*rates[::PER_EPOCH], rates[-1]]
    metrics = pd.DataFrame({"epoch": epochs, "learning_rate": of_epochs, **columns})
    told = {"name": optimiser, "weight_decay": weight_decay, "momentum": momentum}
    run = write_run(folder, metrics, {"seed": seed}, steps_per_epoch=PER_EPOCH, optimiser=told)
    layers = write_measure(folder / "layers", rows, layers=NAMES)
    return replace(run, measures={**run.measures, "layers": layers})

"""The course of a run: the signals that show its destabilisations, per epoch or per step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import (
    FLOORS,
    Destabilisation,
    Floats,
    consistent_from,
    find_by_log_norm,
    find_destabilisations,
    is_fixed,
    late_part,
    running_median,
)
from perigee.dynamics.norm import unprojected_log_norm
from perigee.dynamics.sphere import effective_gradient_norm, effective_learning_rate

SMOOTHED_STEPS = 5
"""The least number of steps over whose mini-batches the median of a signal is taken."""

SMOOTHED_PART = 8
"""Longer epochs take the median over this part of an epoch, 1/8: where few images are not fitted
yet, single mini-batches stand out, and of five in 391 some three always do."""


@dataclass(frozen=True)
class Course:
    """The signals of a run, at positions that are epochs or steps.

    Attributes:
        times: the epochs trained at each position, (positions,); those before a step.
        loss: the train loss, or the train error; of steps the running median.
        weight_norm: rho.
        effective_learning_rate: eta / rho^2.
        effective_gradient_norm: of an epoch the mean over mini-batches, of steps the running
            median.
        cosine_distance: of each step; NaN per epoch.
        per_epoch: positions per epoch.
        found: the destabilisations.
    """

    times: Floats
    loss: Floats
    weight_norm: Floats
    effective_learning_rate: Floats
    effective_gradient_norm: Floats
    cosine_distance: Floats
    per_epoch: int
    found: list[Destabilisation]

    @cached_property
    def warm_up(self) -> int:
        """The number of destabilisations of the warm-up stage."""
        return consistent_from(self.found, self.weight_norm)

    @property
    def norm_is_fixed(self) -> bool:
        """True if rho is constant: then its onsets, peaks and leads mean nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return is_fixed(np.log(self.weight_norm))

    @property
    def consistent(self) -> list[Destabilisation]:
        """The destabilisations of the consistent stage."""
        return self.found[self.warm_up :]

    @property
    def phases_b(self) -> list[tuple[int, int]]:
        """Every phase B, before each destabilisation and after the last.

        Each is given as its first position and the first after it. The first one begins where rho
        begins to fall. The one that the run's end cuts off counts if it is as long as the shortest
        other one: before that the loss may still be coming down.
        """
        starts = [one.fall_start for one in self.found[:1]]
        starts += [one.norm_peak for one in self.found]
        ends = [one.loss_onset for one in self.found]
        complete = list(zip(starts, ends, strict=False))
        if not complete:
            return []
        left = (starts[-1], len(self.times))
        shortest = min(end - start for start, end in complete)
        return [*complete, left] if left[1] - left[0] >= shortest else complete

    def epochs_within(self, start: int, end: int, *, late: bool = False) -> tuple[float, float]:
        """The time from one position to before another, in epochs.

        Args:
            start, end: positions; ``end`` may be the first after the last.
            late: only the last third.
        """
        if late and end > start:
            start = late_part(start, end).start
        return self.time(start), self.time(end)

    def time(self, position: int) -> float:
        """The epochs trained at a position, which may be the first after the last."""
        if position < len(self.times):
            return float(self.times[position])
        return float(self.times[-1]) + 1 / self.per_epoch


def course_of(run: RunInput, *, near_zero: str = "train_loss", resolution: str = "epoch") -> Course:
    """The course of a run.

    Args:
        run: a finished run.
        near_zero: a key of `perigee.analysis.periods.FLOORS`, whose column identifies phase B.
        resolution: "epoch", or "step" where the run has the measure ``steps``; this knows the train
            loss only.
    """
    if resolution == "step":
        return course_of_steps(run)
    return course_of_metrics(run.metrics(), near_zero)


def course_of_metrics(metrics: pd.DataFrame, near_zero: str = "train_loss") -> Course:
    """The course with a position per epoch.

    Args:
        metrics: a row per epoch: ``epoch``, ``weight_norm`` and the column that identifies phase B;
            what it lacks of the other columns is NaN.
        near_zero: see `course_of`.
    """
    unknown = np.full(len(metrics), np.nan)

    def column(name: str) -> Floats:
        return metrics[name].to_numpy(float) if name in metrics else unknown

    loss, norm = column(near_zero), column("weight_norm")
    return Course(
        times=column("epoch"),
        loss=loss,
        weight_norm=norm,
        effective_learning_rate=column("effective_learning_rate"),
        effective_gradient_norm=column("effective_gradient_norm"),
        cosine_distance=unknown,
        per_epoch=1,
        found=find_destabilisations(loss, norm, floor=FLOORS[near_zero]),
    )


def course_of_steps(run: RunInput) -> Course:
    """The course with a position per step.

    Where the norm is fixed, the destabilisations are found by the norm that the steps would give it
    if it were free: a bump of the loss that would hardly move a free norm is not one. With momentum
    that norm is not known, and the loss decides alone.

    Args:
        run: a run with the measure ``steps``.
    """
    steps = run.steps()
    rate = step_learning_rates(run, steps)
    norm, gradient, distance = (
        steps[name].to_numpy(float) for name in ("weight_norm", "gradient_norm", "cosine_distance")
    )
    window = smoothing_window(run.steps_per_epoch)
    loss = running_median(steps["loss"].to_numpy(float), window)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_norm = np.log(norm)
        fixed = is_fixed(log_norm)
    if fixed and run.weight_decay is not None and not run.momentum:
        log_norm = unprojected_log_norm(distance, rate, run.weight_decay)
    return Course(
        times=np.arange(len(steps)) / run.steps_per_epoch,
        loss=loss,
        weight_norm=norm,
        effective_learning_rate=effective_learning_rate(rate, norm),
        effective_gradient_norm=running_median(effective_gradient_norm(gradient, norm), window),
        cosine_distance=distance,
        per_epoch=run.steps_per_epoch,
        found=find_by_log_norm(loss, log_norm, per_epoch=run.steps_per_epoch),
    )


def step_learning_rates(run: RunInput, steps: pd.DataFrame) -> Floats:
    """The learning rate of every step; a row of metrics tells that of the next epoch."""
    metrics = run.metrics().set_index("epoch")
    rates: Floats = metrics.loc[steps["epoch"] - 1, "learning_rate"].to_numpy(dtype=float)
    return rates


def smoothing_window(steps_per_epoch: int) -> int:
    """The odd number of steps over which the running median of a step's signals is taken."""
    return max(SMOOTHED_STEPS, steps_per_epoch // SMOOTHED_PART // 2 * 2 + 1)

"""Finding the periods of a run: destabilisations, phases, warm-up and consistent stage.

The detector uses the norm rho of the scale-invariant weights, which shows a destabilisation much
longer than the loss does, so that it also finds those that a coarse logging interval misses.
A *destabilisation* is a rise of rho by at least `RISE` from a minimum to the next maximum, after a
phase in which rho fell while the train loss was near zero. Runs that never reach a low loss, fall
steadily or diverge have none.

Names and order of events follow Lobacheva et al. 2021, Section 4: in phase C the loss rises, then
rho; the loss peaks and phase A begins; rho peaks and phase B begins; the loss starts to rise and
phase C of the next destabilisation begins. The paper reads all this off its figures; the thresholds
are our choice, set by looking at runs of periodic_fig3 at laptop scale: with a larger `LOW_LOSS`,
lulls of runs that are stuck at a high loss would count as phase B.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import find_peaks

Floats = NDArray[np.float64]

RISE = 1.05
"""The least factor by which rho rises in a destabilisation; ripples of phase B stay far below."""

LOW_LOSS = 0.05
"""The largest median train loss of a falling phase that counts as B ("near zero")."""

LOW_ERROR = 0.01
"""The largest median train error of such a phase, for losses whose least value may be above 0, as
with smoothed labels."""

NEAR_ZERO = {"train_loss": LOW_LOSS, "train_error": LOW_ERROR}
"""The columns that can identify phase B, each with the largest median there."""

HIGH_LOSS = 2 * LOW_LOSS
"""The least train loss that counts as a spike after one of at most `LOW_LOSS`."""

ONSET = 3.0
"""The loss starts to rise where it is last at most this multiple of phase B's lowest loss."""

SETTLED = 1.25
"""The consistent stage's limit: rho before a destabilisation is at most this multiple of the median
over the last half of the run's destabilisations."""


@dataclass(frozen=True)
class Destabilisation:
    """One destabilisation; times are positions in the signal.

    Attributes:
        loss_onset: where the loss is last low before it rises: phase B ends, C begins.
        norm_onset: where rho is lowest before it rises.
        loss_peak: where the loss is highest: C ends, A of the next period begins.
        norm_peak: where rho is highest: A ends, B begins.
    """

    loss_onset: int
    norm_onset: int
    loss_peak: int
    norm_peak: int


@dataclass(frozen=True)
class Period:
    """The time between two destabilisations: phases A, B and C.

    Attributes:
        start: position of the first one's loss peak; phase A begins.
        falling: position of its norm peak; phase B begins.
        rising: position of the second one's loss onset; phase C begins.
        end: position of the second one's loss peak.
    """

    start: int
    falling: int
    rising: int
    end: int


def find_destabilisations(
    loss: Sequence[float] | Floats,
    weight_norm: Sequence[float] | Floats,
    near_zero: float = LOW_LOSS,
) -> list[Destabilisation]:
    """Find all destabilisations of a run, in order.

    Args:
        loss: train loss, a value per epoch or a smoothed one per step, or train error; what follows
            a value that is not finite is left out.
        weight_norm: rho at the same times.
        near_zero: the largest median of a falling phase that counts as B.
    """
    loss, log_norm = _finite_part(np.asarray(loss, float), np.asarray(weight_norm, float))
    minima, maxima = _turning_points(log_norm)
    found = []
    fall_from = 0
    for norm_onset, norm_peak in zip(minima, maxima, strict=True):
        if np.median(loss[fall_from : norm_onset + 1]) <= near_zero:
            loss_peak = norm_onset + int(np.argmax(loss[norm_onset : norm_peak + 1]))
            before_peak = loss[fall_from : loss_peak + 1]
            low = before_peak <= ONSET * before_peak.min()
            loss_onset = fall_from + int(np.flatnonzero(low)[-1])
            found.append(Destabilisation(loss_onset, norm_onset, loss_peak, norm_peak))
        fall_from = norm_peak
    return found


def find_periods(destabilisations: Sequence[Destabilisation]) -> list[Period]:
    """Return the complete periods, each between two successive destabilisations."""
    pairs = itertools.pairwise(destabilisations)
    return [
        Period(first.loss_peak, first.norm_peak, second.loss_onset, second.loss_peak)
        for first, second in pairs
    ]


def consistent_from(
    destabilisations: Sequence[Destabilisation], weight_norm: Sequence[float] | Floats
) -> int:
    """Count the destabilisations of the warm-up stage, which precedes the consistent one.

    In the warm-up stage destabilisations happen at larger norms (Lobacheva et al. 2021, Section 6).
    """
    norms = np.array([np.asarray(weight_norm)[d.norm_onset] for d in destabilisations])
    if not len(norms):
        return 0
    settled = norms <= SETTLED * np.median(norms[len(norms) // 2 :])
    return int(np.argmax(settled))


def count_loss_spikes(loss: Sequence[float] | Floats) -> int:
    """Count how often the train loss, once near zero, rises to `HIGH_LOSS` or more.

    Unlike `find_destabilisations` this also works where the norm is fixed. The loss has to be near
    zero again before it can spike again.

    Args:
        loss: train loss, a value per epoch; one that is not finite counts as high.
    """
    spikes, low = 0, False
    for value in loss:
        if value <= LOW_LOSS:
            low = True
        elif low and not value < HIGH_LOSS:
            spikes, low = spikes + 1, False
    return spikes


def running_median(values: Sequence[float] | Floats, window: int) -> Floats:
    """The centred median over ``window`` values, fewer at the ends.

    Unlike a mean, it removes the noise of mini-batches but leaves a jump where it is.
    """
    return pd.Series(values).rolling(window, center=True, min_periods=1).median().to_numpy(float)


def smoothed(values: Sequence[float] | Floats, window: int) -> Floats:
    """The centred geometric mean over ``window`` values, fewer at the ends; for trends."""
    logarithms = pd.Series(np.log(np.maximum(values, np.finfo(float).tiny)))
    mean = logarithms.rolling(window, center=True, min_periods=1).mean()
    averages: Floats = np.exp(mean.to_numpy(dtype=float))
    return averages


def _finite_part(loss: Floats, weight_norm: Floats) -> tuple[Floats, Floats]:
    bad = ~(np.isfinite(loss) & np.isfinite(weight_norm) & (weight_norm > 0))
    end = int(np.argmax(bad)) if bad.any() else len(loss)
    return loss[:end], np.log(weight_norm[:end])


def _turning_points(log_norm: Floats) -> tuple[list[int], list[int]]:
    """Find minima and the maxima that follow them; each rise and each fall is at least `RISE`."""
    threshold = np.log(RISE)
    # Walls at both ends turn a maximum there into a peak, so that every rise has its maximum.
    walled = np.concatenate(([-np.inf], log_norm, [-np.inf]))
    peaks = find_peaks(walled, prominence=threshold)[0] - 1
    minima, maxima = [], []
    before = 0
    for peak in peaks:
        lowest = before + int(np.argmin(log_norm[before : peak + 1]))
        if log_norm[peak] - log_norm[lowest] >= threshold:
            minima.append(lowest)
            maxima.append(int(peak))
        before = int(peak)
    return minima, maxima

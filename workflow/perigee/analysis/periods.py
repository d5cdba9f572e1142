"""Finding the periods of a run: destabilisations, phases, warm-up and consistent stage.

A *destabilisation* shows in two signals at once:

1. the norm rho of the scale-invariant weights rises by at least the factor `RISE` from a minimum to
   the next maximum, after it fell for at least `SHORTEST_FALL` epochs;
2. within that rise the train loss reaches at least `SPIKE` times its *level before*, the median
   over the last third of the fall.

The loss thus counts as low or high only relative to the peak that follows, so that one rule serves
losses of any scale and any number of classes. Where the norm is fixed, rho says nothing, and the
second part alone decides. Runs that never reach a low loss, fall steadily or diverge have none.

Signals have a value per epoch or per step; a step's loss is that of a mini-batch, and is smoothed
first (`running_median`). Both give the same events, except that a value per epoch misses those that
are over within an epoch, and sees less of their peaks.

Names and order of events follow Lobacheva et al. 2021, Section 4: in phase C the loss rises, then
rho; the loss peaks and phase A begins; rho peaks and phase B begins; the loss starts to rise and
phase C of the next destabilisation begins. The paper reads all this off its figures; the thresholds
are our choice, and docs/periods.md says what they were chosen on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import find_peaks

Floats = NDArray[np.float64]

RISE = 1.05
"""The least factor by which rho rises in a destabilisation; ripples of phase B stay far below."""

SPIKE = 7.0
"""The least factor by which the loss rises in a destabilisation. Where the eye sees no periods, it
rises by up to 6.5 from epoch to epoch; in visible destabilisations by at least 7.6, mostly by 10 to
20,000."""

SHORTEST_FALL = 5
"""The least number of epochs for which rho falls, or the loss stays low, before a destabilisation.
The paper's phases are "quite long periods of training". Runs that are stuck at a high loss
fluctuate within one to four epochs, by as much as others destabilise."""

LAST_PART = 3
"""The last third of a fall is the part that tells the level before. Its beginning does not: there
the loss still comes down from the destabilisation before."""

ONSET = 0.1
"""The share of a rise, in the logarithm, after which a signal counts as rising."""

SETTLED = 1.25
"""The consistent stage's limit: rho before a destabilisation is at most this multiple of the median
over the last half of the run's destabilisations."""

FIXED = 1e-5
"""A norm whose logarithm varies by no more than this over the run is fixed; float32 keeps a fixed
norm to about 1e-6, while weight decay alone changes a free one by eta * lambda in every step."""

FLOORS = {"train_loss": 1e-10, "train_error": 0.01}
"""The columns that can identify phase B, each with the value below which it counts as this value.
A train loss of exactly 0 has no logarithm; in float32 the loss of a single image is 0 or at least
1e-7. An error is 0 in phase B, whichever rise follows: from a floor of 1 % the rule of the loss
asks for a rise to `SPIKE` %. The error serves losses that cannot come near 0, as with smoothed
labels."""


@dataclass(frozen=True)
class Destabilisation:
    """One destabilisation; times are positions in the signal.

    Where the norm is fixed, ``norm_onset`` is the loss's onset and ``norm_peak`` its peak.

    Attributes:
        fall_start: where rho is highest before it falls.
        loss_onset: where the loss is last low before it rises: phase B ends, C begins.
        norm_onset: where rho is lowest before it rises.
        loss_peak: where the loss is highest: C ends, A of the next period begins.
        norm_peak: where rho is highest: A ends, B begins.
        level_before: the loss's median over the last third of the fall.
    """

    fall_start: int
    loss_onset: int
    norm_onset: int
    loss_peak: int
    norm_peak: int
    level_before: float


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
    *,
    per_epoch: int = 1,
    floor: float = FLOORS["train_loss"],
) -> list[Destabilisation]:
    """Find all destabilisations of a run, in order.

    Where the norm is fixed, they are the spikes of the loss, see `find_loss_spikes`.

    Args:
        loss: train loss, a value per epoch or a smoothed one per step, or train error; what follows
            a value that is not finite is left out.
        weight_norm: rho at the same times.
        per_epoch: values per epoch: 1, or the number of steps.
        floor: smaller losses count as this one, see `FLOORS`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_norm = np.log(np.asarray(weight_norm, float))
    return find_by_log_norm(loss, log_norm, per_epoch=per_epoch, floor=floor)


def find_by_log_norm(
    loss: Sequence[float] | Floats,
    log_norm: Sequence[float] | Floats,
    *,
    per_epoch: int = 1,
    floor: float = FLOORS["train_loss"],
) -> list[Destabilisation]:
    """Find all destabilisations as `find_destabilisations` does, from the logarithm of rho.

    It serves norms that are only computed and may exceed all numbers, see
    `perigee.dynamics.norm.unprojected_log_norm`.
    """
    loss, log_norm = _finite_part(np.asarray(loss, float), np.asarray(log_norm, float))
    if not len(loss):
        return []
    if is_fixed(log_norm):
        return find_loss_spikes(loss, per_epoch=per_epoch, floor=floor)
    loss = np.maximum(loss, floor)
    found: list[Destabilisation] = []
    for fall_start, norm_onset, norm_peak in _rises(log_norm, np.log(RISE)):
        longer = _lengthened(found, loss, log_norm, (fall_start, norm_onset, norm_peak), per_epoch)
        if longer is not None:
            found[-1] = longer
            continue
        loss_peak = norm_onset + int(np.argmax(loss[norm_onset : norm_peak + 1]))
        level = _low_before(loss, fall_start, norm_onset, loss_peak, per_epoch)
        if level is not None:
            loss_onset = onset(loss, fall_start, loss_peak, level)
            found.append(
                Destabilisation(fall_start, loss_onset, norm_onset, loss_peak, norm_peak, level)
            )
    return found


def is_fixed(log_norm: Floats) -> bool:
    """Return whether rho is constant, up to rounding, given its logarithm at all times."""
    return bool(np.ptp(log_norm) <= FIXED)


def find_loss_spikes(
    loss: Sequence[float] | Floats, *, per_epoch: int = 1, floor: float = FLOORS["train_loss"]
) -> list[Destabilisation]:
    """Find all rises of the loss that are destabilisations where the norm is fixed.

    The loss rises to at least `SPIKE` times its level before, after it was low for at least
    `SHORTEST_FALL` epochs, just as in `find_destabilisations`; the norm is not looked at.

    Args:
        loss, per_epoch, floor: see `find_destabilisations`.
    """
    loss = np.asarray(loss, float)
    loss, _ = _finite_part(loss, np.zeros_like(loss))
    loss = np.maximum(loss, floor)
    found = []
    for fall_start, lowest, peak in _rises(np.log(loss), np.log(SPIKE)):
        first = onset(loss, fall_start, peak, float(loss[lowest]))
        level = _low_before(loss, fall_start, first, peak, per_epoch)
        if level is not None:
            rising = onset(loss, fall_start, peak, level)
            found.append(Destabilisation(fall_start, rising, rising, peak, peak, level))
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


def first_norm_peak(weight_norm: Sequence[float] | Floats) -> int | None:
    """The position of the first maximum of rho, after which it falls by at least `RISE`.

    It ends the first phase A, which begins with the training; None if rho never falls so far.
    """
    norm = np.asarray(weight_norm, float)
    fallen = np.flatnonzero(np.maximum.accumulate(norm) >= RISE * norm)
    fallen = fallen[norm[fallen] > 0]
    return int(np.argmax(norm[: fallen[0] + 1])) if len(fallen) else None


def warm_up_length(
    destabilisations: Sequence[Destabilisation], weight_norm: Sequence[float] | Floats
) -> int | None:
    """The first position at which rho has come down to the norms of the consistent stage.

    That is to at most `SETTLED` times the largest rho at an onset of that stage. None if no
    destabilisation lies before: then there is no warm-up stage, and the first period's length is
    not the length of one.
    """
    norm = np.asarray(weight_norm, float)
    consistent = destabilisations[consistent_from(destabilisations, norm) :]
    if not consistent:
        return None
    largest = max(norm[one.norm_onset] for one in consistent)
    first = int(np.argmax(norm <= SETTLED * largest))
    return first if destabilisations[0].norm_onset < first else None


def late_part(start: int, end: int) -> slice:
    """The last third of the positions from ``start`` to before ``end``, at least one of them.

    Of a phase B these are the positions that count as its minimum: earlier in the phase the loss is
    still coming down.
    """
    return slice(min(end - 1, end - -(-(end - start) // LAST_PART)), end)


def onset(
    signal: Sequence[float] | Floats, start: int, peak: int, base: float, share: float = ONSET
) -> int:
    """The last position before a peak at which a signal has not yet begun to rise.

    After it the signal stays above base * (peak / base) ** share up to its peak. With `ONSET` as
    share, the rule is the same for a loss, which rises a thousandfold, and for rho, which rises by
    a tenth.

    Args:
        signal: positive values.
        start: where to look from.
        peak: where the signal is highest.
        base: what it rises from: of the loss its level before, since its least value is an extreme
            of its noise; of rho, which has none, its least value.
        share: the share of the rise in the logarithm.

    Returns:
        The position; ``start`` if the signal is never so low.
    """
    part = np.asarray(signal, float)[start : peak + 1]
    low = np.flatnonzero(part[:-1] <= base * (part[-1] / base) ** share)
    return start + int(low[-1]) if len(low) else start


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


def _low_before(loss: Floats, start: int, end: int, peak: int, per_epoch: int) -> float | None:
    """The loss's level before a peak, or None if the peak is not a spike.

    Args:
        loss: positive values.
        start, end: where the loss should be low.
        peak: the position of the peak.
        per_epoch: values per epoch.
    """
    if end <= start:
        return None
    level = float(np.median(loss[late_part(start, end)]))
    # A fork may start shortly before a destabilisation; then its first loss is low.
    is_fork = start == 0 and loss[0] * SPIKE <= loss[peak]
    long_enough = end - start >= SHORTEST_FALL * per_epoch or is_fork
    return level if long_enough and level * SPIKE <= loss[peak] else None


def _lengthened(
    found: Sequence[Destabilisation],
    loss: Floats,
    log_norm: Floats,
    rise: tuple[int, int, int],
    per_epoch: int,
) -> Destabilisation | None:
    """The last destabilisation if rho, after a short fall, rises still higher, or else None."""
    fall_start, norm_onset, norm_peak = rise
    if not found or found[-1].norm_peak != fall_start:
        return None
    is_short = norm_onset - fall_start < SHORTEST_FALL * per_epoch
    if not is_short or log_norm[norm_peak] <= log_norm[fall_start]:
        return None
    last = found[-1]
    loss_peak = last.norm_onset + int(np.argmax(loss[last.norm_onset : norm_peak + 1]))
    loss_onset = onset(loss, last.fall_start, loss_peak, last.level_before)
    return replace(last, loss_onset=loss_onset, loss_peak=loss_peak, norm_peak=norm_peak)


def _finite_part(loss: Floats, log_norm: Floats) -> tuple[Floats, Floats]:
    bad = ~(np.isfinite(loss) & np.isfinite(log_norm))
    end = int(np.argmax(bad)) if bad.any() else len(loss)
    return loss[:end], log_norm[:end]


def _rises(signal: Floats, threshold: float) -> Iterator[tuple[int, int, int]]:
    """Find the rises of a signal by at least the threshold, between falls by as much.

    Yields:
        Where the fall before it starts, its lowest and its highest position.
    """
    # Walls at both ends turn a maximum there into a peak, so that every rise has its maximum.
    walled = np.concatenate(([-np.inf], signal, [-np.inf]))
    peaks = find_peaks(walled, prominence=threshold)[0] - 1
    before = 0
    for peak in map(int, peaks):
        lowest = before + int(np.argmin(signal[before : peak + 1]))
        if signal[peak] - signal[lowest] >= threshold:
            yield before, lowest, peak
        before = peak

"""The regimes of runs at several rates, and what tells them, a row per run.

On the sphere a network trains in one of three regimes (Kodryan et al. 2022): the loss converges, or
it stays at a level that depends on the rate, or the network is never better than a random guess.
Two borders lie between them. A run's regime is judged by its train loss and train error alone
(`regime_of`); the first of these that fits decides:

1. Training *stopped* since the loss was not finite: divergence.
2. The loss *leaves a plateau*, on which it was for `PLATEAU` of all epochs, and falls within half
   that time to less than `FALLS_TO` of it: border of convergence.
3. The loss *is still falling* at the end, or the training images *are fitted*: convergence.
4. The error is that of a *random guess*: divergence, or border of divergence if it is low at times.
5. Anything else: equilibrium.

A loss counts only relative to other losses of the same run, and an error relative to that of a
random guess, so that one rule serves any scale of the loss and any number of classes. The numbers
below are our choice; docs/regimes.md says what they were chosen on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.ndimage import median_filter

from perigee.analysis.inputs import RunInput
from perigee.errors import PerigeeError

Floats = NDArray[np.float64]
NAN = math.nan

CONVERGENCE = "convergence"
BORDER_OF_CONVERGENCE = "border_of_convergence"
EQUILIBRIUM = "equilibrium"
BORDER_OF_DIVERGENCE = "border_of_divergence"
DIVERGENCE = "divergence"

REGIMES = (CONVERGENCE, BORDER_OF_CONVERGENCE, EQUILIBRIUM, BORDER_OF_DIVERGENCE, DIVERGENCE)
"""The regimes in the order of their rates."""

RANDOM = 2.0
"""The multiple of a guess's accuracy up to which a network counts as guessing at random: that is
an error of at least 0.80 with 10 classes, 0.98 with 100."""

LOW = 4.0
"""The multiple of a guess's accuracy above which the error of a network that mostly guesses counts
as low: below 0.60 with 10 classes, 0.96 with 100."""

FITTED = 0.01
"""The train error below which the training images count as fitted."""

FALLING = -0.8
"""The rank correlation of loss and epoch over the second half up to which a loss is falling."""

FALL = 0.05
"""The share of itself by which a falling loss is late below that of the stretch before."""

FALL_OF_ALL = 0.1
"""The share of its whole fall, in the logarithm, that does in place of `FALL`: the slowest runs
lose little in any stretch, but they have lost little in all."""

PLATEAU = 0.2
"""The least share of all epochs that a plateau takes."""

WITHIN = 2.0
"""The factor of its median within which a loss stays on a plateau."""

FALLS_TO = 0.1
"""The share of a plateau's median below which the loss falls when it leaves the plateau."""

END = 0.05
"""The share of all epochs, the last ones, by which the loss at the end is told."""

SMOOTHED = 0.02
"""The share of all epochs over which running medians are taken before plateaus are looked for."""

LATE_COLUMNS = (
    "train_loss",
    "train_error",
    "test_error",
    "effective_gradient_norm",
    "effective_learning_rate",
)
"""The metrics whose late medians are columns."""


def tabulate(
    runs: Sequence[RunInput],
    *,
    rate: str,
    late_fraction: float,
    further: Sequence[str],
) -> pd.DataFrame:
    """Make a row per run.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``stopped`` (whether it diverged by a loss that is not finite), those of `statistics_of`, and
    those of `places_of` among the runs that agree in all swept values but the rate.

    Args:
        runs: finished runs.
        rate: the dotted key of the rate.
        late_fraction: the last part of each run, whose values are its late ones.
        further: names of measures with a row per epoch, whose late columns are added.

    Raises:
        PerigeeError: the rate is not among the swept values of a run.
    """
    rows = []
    for position, run in enumerate(runs):
        labels, metrics, plain = run.labels(), run.metrics(*further), run.metrics()
        _require_rate(rate, labels)
        found = statistics_of(
            metrics,
            classes=run.classes,
            late_fraction=late_fraction,
            stopped=run.stopped,
            further=[str(column) for column in metrics if column not in plain],
        )
        rows.append({"run": position, **labels, "stopped": run.stopped, **found})
    table = pd.DataFrame(rows)
    keys = dict.fromkeys(key for run in runs for key in run.labels())
    others = [key for key in keys if key != rate]
    alike = [one for _, one in table.groupby(others, dropna=False)] if others else [table]
    return table.join(pd.concat([places_of(one.sort_values(rate)) for one in alike]))


def statistics_of(
    metrics: pd.DataFrame,
    *,
    classes: int,
    late_fraction: float,
    stopped: bool,
    further: Sequence[str] = (),
) -> dict[str, Any]:
    """The statistics of one run, by their columns' names; NaN where a value is not finite.

    ``regime``, one of `REGIMES`; ``is_learning``, whether it is neither divergence nor its border;
    ``loss_trend``, the rank correlation of train loss and epoch over the second half of the run;
    ``leaves_a_plateau``, of the function of that name; ``plateau_share``, of `longest_plateau`;
    ``final_train_loss`` and ``final_test_error``, those of the last epoch.

    Late values are medians over the last part of the epochs: ``late_train_loss`` and so on, of each
    of `LATE_COLUMNS` and of the further columns; ``late_flatness``, 1 over that of the effective
    gradient norm; ``late_accuracy_ratio``, the train accuracy over that of a random guess. Over the
    same epochs are ``lowest_late_train_error``, ``highest_late_accuracy_ratio``, and the
    coefficients of variation ``late_train_loss_variation`` and
    ``late_effective_gradient_norm_variation``; over the second half of the run is
    ``effective_learning_rate_variation``.

    ``largest_gradient_share`` is the late effective gradient norm over the largest running median
    of it, the initialisation left out, and ``largest_full_gradient_share`` the same of the column
    ``full_gradient_norm``, where there is one.

    Args:
        metrics: the metrics, a row per epoch, with the further columns.
        classes: how many classes the data have.
        late_fraction: see `tabulate`.
        stopped: whether training ended early since the loss was not finite.
        further: the names of columns beside the metrics.
    """
    columns = {name: metrics[name].to_numpy(float) for name in (*LATE_COLUMNS, *further)}
    loss, error = columns["train_loss"], columns["train_error"]
    late, half = last(len(loss), late_fraction), slice(len(loss) // 2, None)
    leaves = leaves_a_plateau(loss, error, classes)
    regime = regime_of(loss, error, classes=classes, late_fraction=late_fraction, stopped=stopped)
    of_late = {f"late_{name}": float(np.median(values[late])) for name, values in columns.items()}
    lowest = float(np.min(error[late]))
    return {
        "regime": regime,
        "is_learning": regime not in (BORDER_OF_DIVERGENCE, DIVERGENCE),
        "loss_trend": trend(loss[half]),
        "leaves_a_plateau": leaves,
        "plateau_share": longest_plateau(loss, error, classes),
        "final_train_loss": float(loss[-1]),
        "final_test_error": float(columns["test_error"][-1]),
        **of_late,
        "late_flatness": _ratio(1, of_late["late_effective_gradient_norm"]),
        "late_accuracy_ratio": (1 - of_late["late_train_error"]) * classes,
        "lowest_late_train_error": lowest,
        "highest_late_accuracy_ratio": (1 - lowest) * classes,
        "late_train_loss_variation": variation(loss[late]),
        "late_effective_gradient_norm_variation": variation(
            columns["effective_gradient_norm"][late]
        ),
        "effective_learning_rate_variation": variation(columns["effective_learning_rate"][half]),
        **_shares_of_the_largest(columns, of_late, metrics["epoch"].to_numpy() > 0),
    }


def _shares_of_the_largest(
    columns: dict[str, Floats], of_late: dict[str, float], trained: NDArray[np.bool_]
) -> dict[str, float]:
    """Late gradient norms over the largest of the run, of the epochs that count."""
    norms = {
        "effective_gradient_norm": "largest_gradient_share",
        "full_gradient_norm": "largest_full_gradient_share",
    }
    return {
        share: _ratio(of_late[f"late_{name}"], np.max(_smoothed(columns[name][trained]), initial=0))
        for name, share in norms.items()
        if name in columns
    }


def places_of(runs: pd.DataFrame) -> pd.DataFrame:
    """The place of each run among runs that differ in nothing but the rate.

    Columns: ``place_from_top``, how many runs have a higher rate; ``rank_in_regime``, how many runs
    of the same regime have a lower rate, and ``rank_from_top``, how many of them have a higher one;
    ``distance_to_border``, of `distances_to_border`;
    ``late_loss_step``, the late train loss over that of the run with the next lower rate, NaN for
    the lowest.

    Args:
        runs: rows with ``regime`` and ``late_train_loss``, the lowest rate first.
    """
    of_a_regime = runs.groupby("regime")
    return pd.DataFrame(
        {
            "place_from_top": range(len(runs) - 1, -1, -1),
            "rank_in_regime": of_a_regime.cumcount(),
            "rank_from_top": of_a_regime.cumcount(ascending=False),
            "distance_to_border": distances_to_border(runs["regime"].tolist()),
            "late_loss_step": runs["late_train_loss"] / runs["late_train_loss"].shift(1),
        },
        index=runs.index,
    )


def distances_to_border(regimes: Sequence[str]) -> list[float]:
    """How many places each run is away from the border of convergence and equilibrium.

    The highest rate of convergence and the lowest of equilibrium have 0, and so have runs at the
    border. All have NaN unless the runs of convergence come first, then those at the border, if
    any, then one in equilibrium.

    Args:
        regimes: the lowest rate first.
    """
    below = len(list(itertools.takewhile(lambda one: one == CONVERGENCE, regimes)))
    at = len(list(itertools.takewhile(lambda one: one == BORDER_OF_CONVERGENCE, regimes[below:])))
    above = regimes[below + at :]
    is_mixed = CONVERGENCE in above or BORDER_OF_CONVERGENCE in above
    if not below or not above or above[0] != EQUILIBRIUM or is_mixed:
        return [NAN] * len(regimes)
    return [*map(float, reversed(range(below))), *[0.0] * at, *map(float, range(len(above)))]


def regime_of(
    loss: Floats, error: Floats, *, classes: int, late_fraction: float, stopped: bool
) -> str:
    """The regime of a run, one of `REGIMES`.

    Args:
        loss, error: train loss and train error, (epochs,).
        classes, late_fraction, stopped: see `statistics_of`.
    """
    late = error[last(len(error), late_fraction)]
    if stopped:
        return DIVERGENCE
    if leaves_a_plateau(loss, error, classes):
        return BORDER_OF_CONVERGENCE
    if is_falling(loss, late_fraction) or np.median(late) < FITTED:
        return CONVERGENCE
    if np.median(late) >= error_at(RANDOM, classes):
        return BORDER_OF_DIVERGENCE if late.min() < error_at(LOW, classes) else DIVERGENCE
    return EQUILIBRIUM


def error_at(multiple: float, classes: int) -> float:
    """The error at which the accuracy is this multiple of that of guessing at random.

    With few classes there is no such error, or hardly any. Then it is that of guessing, divided by
    the multiple: with two classes for the multiple 2, with up to four for 4.
    """
    return max(1 - multiple / classes, (1 - 1 / classes) / multiple)


def is_falling(loss: Floats, late_fraction: float) -> bool:
    """Return whether a loss is still falling at the end, and not by the chance of its noise.

    Over the second half it falls with the epoch (`FALLING`); and the median of the late loss is
    below that of the stretch of the same length before by `FALL`, or by `FALL_OF_ALL`.
    """
    late = loss[last(len(loss), late_fraction)]
    before = loss[: -len(late)][-len(late) :]
    if not len(before) or not trend(loss[len(loss) // 2 :]) <= FALLING:
        return False
    with np.errstate(all="ignore"):
        fall = np.log(np.median(before) / np.median(late))
        whole_fall = np.log(loss[0] / np.median(late))
    return bool(fall >= -math.log(1 - FALL) or 0 < FALL_OF_ALL * whole_fall <= fall)


def leaves_a_plateau(loss: Floats, error: Floats, classes: int) -> bool:
    """Return whether a loss falls suddenly, and for good, from a plateau.

    A slow run may be on a plateau, too, since a loss that falls slowly stays within a factor of its
    median for long. But it does not leave it so fast.
    """
    loss, error = _smoothed(loss), _smoothed(error)
    length = max(2, round(PLATEAU * len(loss)))
    end = np.median(loss[last(len(loss), END)])
    for start, level in _plateaus(loss, error, classes, length):
        after = loss[start + length :][: length // 2]
        if end < FALLS_TO * level and (after < FALLS_TO * level).any():
            return True
    return False


def longest_plateau(loss: Floats, error: Floats, classes: int) -> float:
    """The share of all epochs that the longest plateau takes, in hundredths; 0 without any.

    On a plateau the loss stays within the factor `WITHIN` of its median, while the error is neither
    that of fitted images nor that of a random guess.
    """
    loss, error = _smoothed(loss), _smoothed(error)
    for hundredths in range(100, 0, -1):
        length = round(hundredths / 100 * len(loss))
        if length > 1 and _plateaus(loss, error, classes, length):
            return hundredths / 100
    return 0.0


def last(epochs: int, fraction: float) -> slice:
    """The last part of so many rows, of which the first is the initialisation; at least one row."""
    return slice(-max(1, round(fraction * (epochs - 1))), None)


def trend(loss: Floats) -> float:
    """The rank correlation (Spearman) of loss and epoch; NaN for a loss that is constant."""
    if len(loss) < 2 or np.isnan(loss).any() or (loss == loss[0]).all():
        return NAN
    return float(stats.spearmanr(np.arange(len(loss)), loss).statistic)


def variation(values: Floats) -> float:
    """The coefficient of variation of some values: their standard deviation over their mean."""
    with np.errstate(all="ignore"):
        return _ratio(np.std(values, ddof=1), np.mean(values)) if len(values) > 1 else NAN


def _ratio(above: float | np.floating[Any], below: float | np.floating[Any]) -> float:
    """The ratio of two numbers, NaN or infinite where the second is 0."""
    with np.errstate(all="ignore"):
        return float(np.divide(above, below))


def _smoothed(values: Floats) -> Floats:
    """The running median, over at least three epochs; single epochs of noise end no plateau."""
    width = max(3, round(SMOOTHED * len(values))) | 1
    found: Floats = median_filter(values, width, mode="nearest")
    return found


def _plateaus(loss: Floats, error: Floats, classes: int, length: int) -> list[tuple[int, float]]:
    """The first epoch and the median of each stretch of a length that is a plateau."""
    if length > len(loss):
        return []
    is_between = (error >= FITTED) & (error < error_at(RANDOM, classes)) & np.isfinite(loss)
    starts = np.flatnonzero(_windows(is_between, length).all(axis=1))
    stretches = _windows(loss, length)[starts]
    low, high = stretches.min(axis=1), stretches.max(axis=1)
    flat = high <= WITHIN**2 * low  # whatever the median is; there are few of them
    starts, stretches, low, high = starts[flat], stretches[flat], low[flat], high[flat]
    level = np.median(stretches, axis=1)
    fits = (high <= WITHIN * level) & (WITHIN * low >= level)
    return [(int(start), float(one)) for start, one in zip(starts[fits], level[fits], strict=True)]


def _windows(values: NDArray[Any], length: int) -> NDArray[Any]:
    """All stretches of a length, (stretches, length), without a copy."""
    return np.lib.stride_tricks.sliding_window_view(values, length)


def _require_rate(rate: str, labels: Any) -> None:
    if rate not in labels:
        known = ", ".join(labels) or "nothing"
        raise PerigeeError(
            f"The analysis 'regimes' compares runs by '{rate}', but these differ in {known}; name "
            "another 'rate', or sweep it."
        )

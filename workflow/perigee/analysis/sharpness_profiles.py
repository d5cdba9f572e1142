"""Sharpness and test error at equal train losses (Kodryan et al. 2022, Sections 5.1 and 5.2).

The paper's Figures 3 and 5 draw the effective gradient norm, its measure of sharpness, and the test
error against the train loss: at an equal loss, runs at different rates lie in regions of different
sharpness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import Floats

NAN = math.nan

FEWEST_LEVELS = 3
"""The least number of levels through which a slope is laid."""


class Crossing(NamedTuple):
    """The numbers of a run where its train loss crosses a level downwards.

    Attributes:
        log10_effective_gradient_norm: the logarithm to base 10 of the effective gradient norm.
        test_error: the test error.
    """

    log10_effective_gradient_norm: float
    test_error: float


Profile = dict[int, Crossing]
"""The crossings of a run by k, where the levels of train loss are 10^(k / levels per decade)."""

COLUMNS = (
    "level",
    "effective_gradient_norm",
    *Crossing._fields,
    "is_common",
    "is_lowest_common",
    "is_lowest",
    "slope",
    "is_compared",
    "gradient_ratio_to_lower",
    "log10_ratio_to_lower",
    "test_error_change_to_lower",
)
"""The columns of the table behind those that tell the runs apart."""


def tabulate(runs: Sequence[RunInput], *, rate: str, levels_per_decade: int) -> pd.DataFrame:
    """Make a row per run and level of train loss that the run crosses (see `profile_of`).

    A run's rows go from its highest level to its lowest; a run that crosses none has no row.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``fork_epoch`` (the epoch of its parent at which it starts; 0 without a parent), ``level`` (the
    train loss), ``effective_gradient_norm``, ``log10_effective_gradient_norm`` and ``test_error``
    there; ``is_common`` (whether all runs of the same seed cross the level), ``is_lowest_common``
    (whether it is the lowest such level of the seed), ``is_lowest`` (whether it is the run's own
    lowest level) and ``slope`` (see `final_slope`; the same in all rows of a run).

    Further columns compare a run with that of the next lower rate among the runs that agree with it
    in all other swept values: ``is_compared`` (whether there is one that crosses the level),
    ``gradient_ratio_to_lower`` (its effective gradient norm over that run's at the same level),
    ``log10_ratio_to_lower`` (the logarithm of this to base 10) and ``test_error_change_to_lower``
    (its test error less that run's). Where it is not compared, the last three are NaN.

    Args:
        runs: finished runs.
        rate: the dotted key of the rate.
        levels_per_decade: levels in each factor of ten of the train loss.
    """
    profiles = [profile_of(run.metrics(), levels_per_decade) for run in runs]
    rows = []
    for position, run in enumerate(runs):
        same_seed = [
            profile
            for other, profile in zip(runs, profiles, strict=True)
            if other.swept.get("seed") == run.swept.get("seed")
        ]
        lower = _next_lower(runs, position, rate)
        of_levels = _rows_of(
            profiles[position],
            {} if lower is None else profiles[lower],
            common_levels(same_seed),
            levels_per_decade,
        )
        told = {"run": position, **run.labels(), "fork_epoch": run.fork_epoch}
        rows += [{**told, **row} for row in of_levels]
    names = dict.fromkeys(name for run in runs for name in run.labels())
    return pd.DataFrame(rows, columns=["run", *names, "fork_epoch", *COLUMNS])


def level_of(k: int, levels_per_decade: int) -> float:
    """The train loss of a level."""
    return float(10 ** (k / levels_per_decade))


def profile_of(metrics: pd.DataFrame, levels_per_decade: int) -> Profile:
    """Find where a run's train loss last crosses each level downwards.

    It crosses a level L between epochs e and e + 1 if the loss is at least L after the one and less
    than L after the other. The logarithm of the effective gradient norm and the test error are
    interpolated between them linearly in the logarithm of the loss. Two epochs at one of which loss
    or effective gradient norm is 0 or not finite do not count.

    Args:
        metrics: columns ``train_loss``, ``effective_gradient_norm`` and ``test_error``, a row per
            epoch.
        levels_per_decade: levels in each factor of ten.
    """
    place = levels_per_decade * _log10(metrics["train_loss"])  # the levels are its whole numbers
    gradient = _log10(metrics["effective_gradient_norm"])
    error = metrics["test_error"].to_numpy(float)
    usable = np.isfinite(place) & np.isfinite(gradient)
    found = {}
    for before in np.flatnonzero(usable[:-1] & usable[1:]):
        after = before + 1
        for k in range(math.floor(place[after]) + 1, math.floor(place[before]) + 1):
            passed = float((place[before] - k) / (place[before] - place[after]))
            found[k] = Crossing(
                *(float((1 - passed) * y[before] + passed * y[after]) for y in (gradient, error))
            )
    return found


def common_levels(profiles: Sequence[Profile]) -> set[int]:
    """The levels, by k, that all of some runs cross; none of no runs."""
    return set[int].intersection(*(set(one) for one in profiles)) if profiles else set()


def final_slope(profile: Profile, levels_per_decade: int) -> float:
    """The slope of the logarithm of the effective gradient norm on that of the train loss, at last.

    It is that of the straight line by least squares through a run's crossings in the lowest decade
    of its levels, both ends included; NaN with fewer than `FEWEST_LEVELS` of them.
    """
    levels = [k for k in profile if k <= min(profile) + levels_per_decade]
    if len(levels) < FEWEST_LEVELS:
        return NAN
    loss = np.array(levels) / levels_per_decade
    gradient = [profile[k].log10_effective_gradient_norm for k in levels]
    return float(np.polyfit(loss, gradient, 1)[0])


def _rows_of(
    profile: Profile, lower: Profile, common: set[int], levels_per_decade: int
) -> list[dict[str, Any]]:
    """The columns `COLUMNS` of a run, a row per level, from the highest down.

    Args:
        profile: the run's.
        lower: that of the run that it is compared with; empty if there is none.
        common: the levels that all runs of the seed cross.
        levels_per_decade: levels in each factor of ten.
    """
    slope = final_slope(profile, levels_per_decade)
    return [
        {
            "level": level_of(k, levels_per_decade),
            "effective_gradient_norm": 10**crossing.log10_effective_gradient_norm,
            **crossing._asdict(),
            "is_common": k in common,
            "is_lowest_common": k == min(common, default=None),
            "is_lowest": k == min(profile),
            "slope": slope,
            **_compared(crossing, lower.get(k)),
        }
        for k, crossing in sorted(profile.items(), reverse=True)
    ]


def _next_lower(runs: Sequence[RunInput], position: int, rate: str) -> int | None:
    """The run with the next lower rate among those that agree in all other swept values."""
    rates = {
        other: run.swept[rate]
        for other, run in enumerate(runs)
        if run.swept.get(rate) is not None
        and _other_values(run, rate) == _other_values(runs[position], rate)
    }
    lower = [other for other in rates if position in rates and rates[other] < rates[position]]
    return max(lower, key=rates.__getitem__, default=None)


def _other_values(run: RunInput, rate: str) -> dict[str, Any]:
    """The swept values that a run has besides the rate."""
    return {key: value for key, value in run.swept.items() if key != rate and value is not None}


def _compared(crossing: Crossing, lower: Crossing | None) -> dict[str, Any]:
    log10_ratio, error = (NAN, NAN) if lower is None else np.subtract(crossing, lower)
    return {
        "is_compared": lower is not None,
        "gradient_ratio_to_lower": float(10**log10_ratio),
        "log10_ratio_to_lower": float(log10_ratio),
        "test_error_change_to_lower": float(error),
    }


def _log10(column: pd.Series[float]) -> Floats:
    """Logarithms to base 10; not finite where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(column.to_numpy(float)), dtype=float)

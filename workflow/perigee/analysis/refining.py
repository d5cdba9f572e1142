"""The rates at which further runs would tell the borders between regimes more narrowly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count, groupby, pairwise
from typing import Any

ROUNDING = 1e-9
"""The share by which an interval may be wider than asked."""


def borders(regimes: Mapping[float, str]) -> list[tuple[float, float]]:
    """The neighbouring rates whose runs are of different regimes, the lowest first.

    Args:
        regimes: the regime of the run at each rate.
    """
    return [pair for pair in pairwise(sorted(regimes)) if regimes[pair[0]] != regimes[pair[1]]]


def next_rate(regimes: Mapping[float, str], ratio: float) -> float | None:
    """The rate to try next: between those neighbours of different regimes that are widest apart.

    Args:
        regimes: the regime of the run at each rate, all positive.
        ratio: the ratio of neighbours, above 1, that is narrow enough.

    Returns:
        The rate; None if all neighbours of different regimes are near enough.
    """
    widest = max(borders(regimes), key=_ratio, default=(1.0, 1.0))
    return between(*widest) if _ratio(widest) > ratio * (1 + ROUNDING) else None


def between(low: float, high: float) -> float:
    """The geometric mean of two rates, rounded to the fewest digits that leave it in the middle.

    In the middle means that the interval is divided, in the logarithm, as 2 : 3 at worst.
    """
    middle, most = math.sqrt(low * high), (high / low) ** 0.1
    rounded = (float(f"{middle:.{digits}g}") for digits in count(1))
    return next(rate for rate in rounded if middle / most <= rate <= middle * most)


def told(regimes: Mapping[float, str]) -> str:
    """The regimes in words, such as "convergence from 0.001 to 0.004, equilibrium at 0.008"."""
    alike = [(name, list(rates)) for name, rates in groupby(sorted(regimes), regimes.__getitem__)]
    return ", ".join(
        f"{name.replace('_', ' ')} "
        + (f"from {one[0]:g} to {one[-1]:g}" if len(one) > 1 else f"at {one[0]:g}")
        for name, one in alike
    )


def sweep_of(rates: Sequence[float], plain: Any, present: Any) -> Any:
    """A sweep over some rates, in the form that an overlay must have.

    Args:
        rates: the rates, the lowest first.
        plain: the sweep of the file that is overlaid: a list, or values by name, where an overlay
            drops a name by giving it no value.
        present: the sweep at the present scale, whose names stay.
    """
    if not isinstance(plain, Mapping):
        return list(rates)
    names = {float(rate): name for name, rate in present.items()}
    named = {
        names.get(rate, f"rate_{rate:g}".replace(".", "_").replace("-", "_")): rate
        for rate in rates
    }
    return named | {name: None for name in plain if name not in named}


def _ratio(pair: tuple[float, float]) -> float:
    low, high = pair
    return high / low

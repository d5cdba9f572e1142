"""The dials of a setting: numbers that tell how near a run is to the paper's conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perigee.analysis.courses import Course, course_of
from perigee.analysis.destabilisations import events_of
from perigee.analysis.inputs import RunInput
from perigee.analysis.period_statistics import statistics_of
from perigee.analysis.periods import Floats, late_part
from perigee.dynamics.norm import equilibrium_squared_norm, exact_weight_decay, settling_time
from perigee.dynamics.sphere import effective_step_size

NAN = math.nan


ARRIVED = 0.05
"""The part by which rho^2 may exceed Proposition 3's interval and counts as having come there."""


@dataclass(frozen=True)
class Dial:
    """A number that a setting should have for a small run to be like the paper's.

    Attributes:
        meaning: what it is, in words.
        paper: its value in the paper (Lobacheva et al. 2021), as text; "" if it cannot be told.
        least, most: the range that is asked for, our choice from the paper's values and from where
            its approximations hold.
    """

    meaning: str
    paper: str
    least: float
    most: float

    def met(self, value: float) -> bool | None:
        """Return whether a value lies in the range; None if there is nothing to measure."""
        return None if math.isnan(value) else self.least <= value <= self.most


DIALS = {
    "decay_units": Dial("ηλ times the steps of the run", "3.9 to 11.7 (Figure 3)", 3.5, 12.0),
    "decay_per_step": Dial("ηλ", "1e-5, 3e-5 (Figure 3)", 0.0, 2e-3),
    "gradient_range_premise": Dial(
        "2ηλL/ℓ, by the effective gradient norms of all steps",
        'at most 1, "generally fulfilled" (Section 5.2)',
        0.0,
        1.0,
    ),
    "settled_share": Dial(
        "share of the steps after the first 1/(2ηλ) at which ρ² lies between κℓ and κL, "
        "by the effective gradient norms of these steps",
        "1 (Proposition 3)",
        1.0,
        1.0,
    ),
    "settling_time_share": Dial(
        "steps until ρ² first is at most 1.05 κL over those of Proposition 3, where ρ² begins "
        "above κL; L by the effective gradient norms of all steps",
        "at most 1 (Proposition 3)",
        0.0,
        1.0,
    ),
    "late_step_size": Dial(
        "effective step size over √(2ηλ), in the last third of phase B", "", 0.1, math.inf
    ),
    "largest_cosine_distance": Dial(
        "largest cosine distance of a step in a destabilisation",
        '"sufficiently small" (Section 5.1)',
        0.0,
        0.25,
    ),
    "phase_a_epochs": Dial(
        "length of phase A, epochs", '"quite long periods" (Section 4)', 1.0, math.inf
    ),
    "onset_norm_spread": Dial("largest over smallest ρ at the onsets", "one level", 1.0, 1.5),
    "interval_variation": Dial(
        "coefficient of variation of the intervals", '"consistent periodic" (Section 1)', 0.0, 0.3
    ),
    "peak_train_error": Dial("largest train error after a loss peak", "", 0.0, 0.5),
}
"""The dials by their columns; onsets and intervals are those of the consistent stage, and phase A
has its median over all destabilisations."""


def tabulate(runs: Sequence[RunInput], *, resolution: str) -> pd.DataFrame:
    """Make a row per run.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys, and
    the keys of `DIALS`.

    Args:
        runs: finished runs of SGD without momentum.
        resolution: "epoch", or "step" for runs with the measure ``steps``; per epoch
            ``gradient_range_premise``, ``settled_share``, ``settling_time_share``,
            ``late_step_size`` and ``largest_cosine_distance`` are NaN.
    """
    rows = [
        {"run": position, **run.labels(), **dials_of(run, resolution=resolution)}
        for position, run in enumerate(runs)
    ]
    return pd.DataFrame(rows)


def dials_of(run: RunInput, *, resolution: str) -> dict[str, float]:
    """The dials of one run, by the keys of `DIALS`; NaN where there is nothing to measure.

    Args:
        run: see `tabulate`.
        resolution: see `tabulate`.
    """
    course, metrics = course_of(run, resolution=resolution), run.metrics()
    statistics = statistics_of(metrics, course=course)
    events = events_of(course, metrics)
    # The last row's rate would be that of an epoch that is not trained.
    rates = metrics["learning_rate"].to_numpy(float)[:-1]
    decay = NAN if run.weight_decay is None else run.weight_decay
    per_step = decay * float(np.mean(rates)) if len(rates) else NAN
    found = {
        "decay_units": decay * run.steps_per_epoch * float(np.sum(rates)),
        "decay_per_step": per_step,
        "gradient_range_premise": NAN,
        "settled_share": NAN,
        "settling_time_share": NAN,
        "late_step_size": NAN,
        "largest_cosine_distance": float(events["largest_cosine_distance"].max()),
        "phase_a_epochs": statistics["phase_a_epochs"],
        "onset_norm_spread": statistics["onset_norm_spread"],
        "interval_variation": statistics["interval_variation"],
        "peak_train_error": float(events["peak_train_error"].max()),
    }
    if resolution == "step":
        found |= _of_steps(run, course, decay, per_step)
    return found


def _of_steps(
    run: RunInput, course: Course, decay: float, decay_per_step: float
) -> dict[str, float]:
    """The dials that need the effective gradient norm of single steps."""
    steps = run.steps()
    norm = steps["weight_norm"].to_numpy(float)
    gradient = steps["gradient_norm"].to_numpy(float)
    bounds = norm * gradient
    rates = course.effective_learning_rate * norm**2
    step_size = effective_step_size(rates, gradient, norm)
    late = [late_part(start, end) for start, end in course.phases_b if end > start]
    sizes = np.concatenate([step_size[part] for part in late]) if late else np.array([])
    smallest = float(np.min(bounds))
    return {
        "gradient_range_premise": (
            2 * decay_per_step * float(np.max(bounds)) / smallest if smallest > 0 else NAN
        ),
        "settled_share": settled_share(rates, decay, bounds, norm),
        "settling_time_share": settling_time_share(rates, decay, bounds, norm),
        "late_step_size": (
            float(np.median(sizes)) / math.sqrt(2 * decay_per_step)
            if len(sizes) and decay_per_step > 0
            else NAN
        ),
    }


def settled_share(rates: Floats, decay: float, bounds: Floats, norm: Floats) -> float:
    """The share of steps at which rho^2 lies in Proposition 3's interval, eq. (7).

    l and L are the smallest and largest effective gradient norm of single steps, since it is those
    that the proposition bounds. The first 1 / (2 eta lambda) steps are left out, in which the
    proposition lets rho^2 come near the interval.

    Args:
        rates: eta of each step, (steps,).
        decay: lambda.
        bounds: the effective gradient norm of each step, (steps,).
        norm: rho before each step, (steps,).

    Returns:
        The share, from 0 to 1; NaN without weight decay, or if the run is over before.
    """
    per_step = decay * float(np.mean(rates))
    first = math.ceil(1 / (2 * per_step)) if per_step > 0 else len(norm)
    rates, bounds, squared = rates[first:], bounds[first:], norm[first:] ** 2
    if not len(squared):
        return NAN
    lowest, highest = (
        equilibrium_squared_norm(rates, decay, np.full_like(rates, bound))
        for bound in (np.min(bounds), np.max(bounds))
    )
    return float(np.mean((lowest <= squared) & (squared <= highest)))


def settling_time_share(rates: Floats, decay: float, bounds: Floats, norm: Floats) -> float:
    """The steps in which rho^2 comes down to Proposition 3's interval, over those that it may take.

    It has come when it is at most 1 + `ARRIVED` times the interval's upper end, kappa L, with the
    largest effective gradient norm of all steps for L. With `exact_weight_decay` for lambda the
    share is at most 1 by the proposition.

    Args:
        rates, decay, bounds, norm: see `settled_share`.

    Returns:
        The share, if rho^2 does not come at all that of all steps of the run; NaN without weight
        decay, if the learning rate changes, if rho^2 does not begin above the interval, or if the
        run is over before it has or must have come.
    """
    if not (decay > 0 and np.any(bounds > 0) and np.allclose(rates, rates[0], rtol=1e-9, atol=0)):
        return NAN
    rate, upper, squared = float(rates[0]), float(np.max(bounds)), norm**2
    exact = exact_weight_decay(rate, decay)
    end = (1 + ARRIVED) * equilibrium_squared_norm(rate, exact, upper)
    longest = settling_time(
        rate, exact, upper, initial_squared_norm=float(squared[0]), tolerance=ARRIVED
    )
    if not longest > 0:
        return NAN
    arrived = np.flatnonzero(squared <= end)
    if len(arrived):
        return float(arrived[0]) / math.ceil(longest)
    return len(squared) / math.ceil(longest) if len(squared) > math.ceil(longest) else NAN

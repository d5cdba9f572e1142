"""The filters of a network late in runs: norms, gradients, rates and steps (Kodryan et al. 2022).

Section 5.2 and Figure 4: in the second regime the individual effective step sizes of all
scale-invariant groups become equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.descriptions import description
from perigee.analysis.inputs import RunInput
from perigee.dynamics.groups import MEAN, QUANTITIES, ROOT_MEAN_SQUARE

RATE, GRADIENT, STEP = (
    "effective_learning_rate",
    "effective_gradient_norm",
    "effective_step_size",
)


def tabulate(runs: Sequence[RunInput], *, last_fraction: float) -> pd.DataFrame:
    """Average the quantities of every group over the last epochs, a row per run and group.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``group`` (its number, from 0), ``layer`` (the weight tensor that it is a filter of; "" of all
    weights that are scale-invariant only together), ``is_filter``, the mean of each of
    `perigee.dynamics.groups.QUANTITIES` under its own name, and its root mean square with ``_rms``
    behind the name. ``total_effective_learning_rate`` and ``total_effective_step_size_rms`` are
    those of all groups together on a sphere, by eq. (4).

    Args:
        runs: finished runs with the measure ``filters``.
        last_fraction: the last part of each run that counts.
    """
    return pd.concat(
        [_of_run(place, run, last_fraction) for place, run in enumerate(runs)], ignore_index=True
    )


def tabulate_statistics(runs: Sequence[RunInput], *, last_fraction: float) -> pd.DataFrame:
    """Tell how much filters differ, a row per run.

    What is equal in the second regime is the root mean square of the individual effective step
    sizes: by eq. (5) individual rates are stationary where E log(1 + ESS_i^2) is that of all groups
    together. So statistics are of root mean squares, over filters only; those without a gradient
    are left out.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``rate_spread``, ``gradient_spread`` and ``step_spread`` (the standard deviations over filters
    of the logarithm to base 10 of effective learning rate, gradient norm and step size),
    ``step_to_rate_spread`` and ``step_to_gradient_spread`` (ratios of these), ``slope`` (of the
    logarithm of the gradient norm on that of the rate; -1 where all steps are equal),
    ``rate_drift`` (the root mean square over filters of the change of the logarithm of the rate
    from the part before the last to the last one) and ``drift_to_rate_spread``.

    Args:
        runs, last_fraction: see `tabulate`.
    """
    rows = []
    for place, run in enumerate(runs):
        late = _of_run(place, run, last_fraction)
        late = late[late["is_filter"]]
        before = _of_run(place, run, last_fraction, parts_before=1)
        before = before[before["is_filter"]]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate, gradient, step, former = (
                np.log10(table[column].to_numpy(float))
                for table, column in (
                    (late, RATE),
                    (late, f"{GRADIENT}_{ROOT_MEAN_SQUARE}"),
                    (late, f"{STEP}_{ROOT_MEAN_SQUARE}"),
                    (before, RATE),
                )
            )
        told = np.isfinite(rate) & np.isfinite(gradient)  # not a dead filter
        rate, gradient, step, former = (x[told] for x in (rate, gradient, step, former))
        rate_spread, gradient_spread, step_spread = (np.std(x) for x in (rate, gradient, step))
        drift = float(np.sqrt(np.mean((rate - former) ** 2)))
        centred = rate - rate.mean()
        rows.append(
            {
                "run": place,
                **run.labels(),
                "rate_spread": rate_spread,
                "gradient_spread": gradient_spread,
                "step_spread": step_spread,
                "step_to_rate_spread": step_spread / rate_spread,
                "step_to_gradient_spread": step_spread / gradient_spread,
                "slope": centred.dot(gradient) / centred.dot(centred),
                "rate_drift": drift,
                "drift_to_rate_spread": drift / rate_spread,
            }
        )
    return pd.DataFrame(rows)


def _of_run(
    place: int, run: RunInput, last_fraction: float, *, parts_before: int = 0
) -> pd.DataFrame:
    """The averages of one run over its last part, or over one of the parts before it."""
    rows = run.rows("filters")
    layers = np.array(description(run, "filters")["groups"])
    length = max(1, round(last_fraction * len(rows)))
    end = len(rows) - parts_before * length
    part = rows[max(0, end - length) : max(0, end)]
    numbers: dict[str, Any] = {}
    for name in QUANTITIES:
        means = part[f"{name}_{MEAN}"].astype(float)
        squares = part[f"{name}_{ROOT_MEAN_SQUARE}"].astype(float) ** 2
        numbers[name] = _over_epochs(means)
        numbers[f"{name}_{ROOT_MEAN_SQUARE}"] = np.sqrt(_over_epochs(squares))
    metrics = run.metrics()
    late = metrics[metrics["epoch"].isin(part["epoch"] - 1)]  # a row tells the next epoch's rates
    rate, total = late["learning_rate"].mean(), late[RATE].mean()
    gradient_square = numbers[f"gradient_norm_{ROOT_MEAN_SQUARE}"] ** 2
    return pd.DataFrame(
        {
            "run": place,
            **run.labels(),
            "group": np.arange(len(layers)),
            "layer": layers,
            "is_filter": layers != "",
            **numbers,
            f"total_{RATE}": total,
            f"total_{STEP}_{ROOT_MEAN_SQUARE}": np.sqrt(total * rate * gradient_square.sum()),
        }
    )


def _over_epochs(values: np.ndarray) -> np.ndarray:
    """The mean over epochs, (groups,); NaN without any."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)

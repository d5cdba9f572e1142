"""The stages of training between decays of the learning rate (Wan et al. 2021, Sections 4.2, 4.3).

A stage begins where the learning rate falls; a warm-up belongs to the first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.layer_steps import Floats, LayerSteps, means, rates_of
from perigee.dynamics.equilibrium import (
    approach_rate,
    equilibrium_angular_update,
    steps_to_new_equilibrium,
)
from perigee.errors import PerigeeError

NAN = math.nan

END = 0.1
"""The last part of a stage that is its end, in whose mean it has arrived or not."""

PART = 0.2
"""The first and the last part of a stage that are compared."""


class Stage(NamedTuple):
    """A stretch of training at one learning rate.

    Attributes:
        number: from 1.
        first, last: its first step, and the one after its last.
        factor: k, by which the learning rate was divided before it; NaN for the first.
    """

    number: int
    first: int
    last: int
    factor: float

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return self.last - self.first


def stages_of(learning_rate: Floats) -> list[Stage]:
    """Divide training into stages.

    Args:
        learning_rate: of every step, (steps,).
    """
    falls = np.flatnonzero(np.diff(learning_rate) < 0) + 1
    bounds = [0, *falls.tolist(), len(learning_rate)]
    factors = [NAN, *(learning_rate[falls - 1] / learning_rate[falls]).tolist()]
    parts = zip(bounds[:-1], bounds[1:], factors, strict=True)
    return [Stage(number, *part) for number, part in enumerate(parts, start=1)]


def tabulate(runs: Sequence[RunInput], *, layers: Sequence[str], window: int) -> pd.DataFrame:
    """Tell how layers come to the equilibrium of each stage, a row per run, layer and stage.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``layer``, ``stage`` (from 1), ``steps``, ``learning_rate`` and ``factor`` (k, by which it was
    divided before the stage);

    - ``relative_at_start``, ``relative_at_end``: the mean angular update of the first window and
      of the last tenth of the stage, relative to its equilibrium;
    - ``is_long_enough``: whether the stage has the steps that Corollary 3.1 asks for, and
      ``relative_at_corollary``: the same of the window around that step;
    - ``largest_departure``: the largest distance of a window's mean from equilibrium, relative to
      it;
    - ``course_error``: the median over windows of the distance of the mean from the `course` that
      is predicted, relative to it.

    Args:
        runs: finished runs by SGD with the measure ``layers`` or ``thinned_layers``.
        layers: names of layers; all if none is named.
        window: steps of a mean; a tenth of the stage if that has fewer.

    Raises:
        PerigeeError: so few steps of layers are kept that a stage has none.
    """
    rows = []
    for place, run in enumerate(runs):
        of_stages: dict[int, list[dict[str, Any]]] = {}
        for steps in LayerSteps.each(run, layers):
            for stage, part in _parts(run, steps):
                columns = _of_stage(stage, part, min(window, max(1, round(END * stage.steps))))
                of_stages.setdefault(stage.number, []).extend(part.rows(columns))
        found = (row for stage in of_stages.values() for row in stage)
        rows += [{"run": place, **run.labels(), **row} for row in found]
    return pd.DataFrame(rows)


def tabulate_metrics(runs: Sequence[RunInput], *, layers: Sequence[str]) -> pd.DataFrame:
    """Tell how loss, errors and angular updates change in each stage, a row per run and stage.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``stage`` (from 1), ``learning_rate``, and for ``train_loss``, ``train_error``, ``test_loss``
    and ``test_error`` the ``<name>_rise``: the mean over the last fifth of the stage's epochs less
    the lowest in the first fifth. ``angular_update_growth`` is the mean angular update over the
    last fifth of the steps divided by that over the first fifth, the median over layers.

    Args:
        runs: finished runs with the measure ``layers`` or ``thinned_layers``.
        layers: names of layers; all if none is named.

    Raises:
        PerigeeError: so few steps of layers are kept that a stage has none.
    """
    names = ("train_loss", "train_error", "test_loss", "test_error")
    rows = []
    for place, run in enumerate(runs):
        metrics, per_epoch = run.metrics().set_index("epoch"), run.steps_per_epoch
        growths: dict[int, list[float]] = {}
        for steps in LayerSteps.each(run, layers):
            for stage, part in _parts(run, steps):
                length = max(1, round(PART * len(part)))
                first, last = part.angular_update[:length], part.angular_update[-length:]
                growths.setdefault(stage.number, []).append(last.mean() / first.mean())
        rates = _rates(run, steps)
        for stage in stages_of(rates):
            epochs = metrics.loc[stage.first // per_epoch + 1 : stage.last // per_epoch]
            count = max(1, round(PART * len(epochs)))
            rises = {
                f"{name}_rise": epochs[name].iloc[-count:].mean() - epochs[name].iloc[:count].min()
                for name in names
            }
            rows.append(
                {
                    "run": place,
                    **run.labels(),
                    "stage": stage.number,
                    "learning_rate": rates[stage.last - 1],
                    **rises,
                    "angular_update_growth": float(np.median(growths[stage.number])),
                }
            )
    return pd.DataFrame(rows)


def course(part: LayerSteps, window: int) -> Floats:
    """The angular updates that the theorems predict from the first norm and from unit gradients.

    To first order in lambda eta, ||w||^4 comes to (w*)^4 at the rate 4 lambda eta / (1 - alpha),
    and Delta / Delta* is (w* / ||w||)^2. From window to window w* is that of the mean unit
    gradient; for a constant one the course is `perigee.dynamics.equilibrium`'s after a decay.

    Args:
        part: steps at one learning rate, with momentum alpha and weight decay lambda of SGD.
        window: steps of a mean, of those that are kept.

    Returns:
        The angular update in the middle of each window, (windows, tensors).
    """
    assert part.weight_decay is not None
    rate = float(part.learning_rate[-1])
    fourths = part.equilibrium_norm(
        means(part.unit_gradient, window), means(part.learning_rate, window)
    )
    fourths = fourths**4
    half = math.exp(-approach_rate(rate, part.weight_decay, part.momentum) * window * part.every)
    settled = equilibrium_angular_update(rate, part.weight_decay, part.momentum)
    fourth, predicted = part.norm[0] ** 4, []
    for equilibrium in fourths:
        middle = equilibrium + (fourth - equilibrium) * half
        predicted.append(settled * np.sqrt(equilibrium / middle))
        fourth = equilibrium + (fourth - equilibrium) * half**2
    return np.array(predicted)


def _rates(run: RunInput, steps: LayerSteps) -> Floats:
    """The learning rate of every step of the run, whichever of them are kept."""
    last = min(int(steps.step[-1]) + steps.every, run.epochs * run.steps_per_epoch)
    return rates_of(run, np.arange(last))


def _parts(run: RunInput, steps: LayerSteps) -> Iterator[tuple[Stage, LayerSteps]]:
    """Yield each stage with those of its steps that are kept."""
    arrays = ("step", "norm", "gradient_norm", "angular_update", "velocity_gradient")
    for stage in stages_of(_rates(run, steps)):
        part = slice(*np.searchsorted(steps.step, [stage.first, stage.last]))
        if not len(steps.step[part]):
            raise PerigeeError(
                f"Stage {stage.number} has {stage.steps} steps, of which none of layer "
                f"{steps.names[0]} is kept; lower key 'layers.every' of the figure's runs, "
                f"{steps.every}."
            )
        kept = {name: getattr(steps, name)[part] for name in (*arrays, "learning_rate")}
        yield stage, replace(steps, **kept)


def _of_stage(stage: Stage, part: LayerSteps, window: int) -> dict[str, Any]:
    """The columns of a stage; arrays have a number for each layer."""
    kept = min(part.within(window), len(part))
    rate, decay = float(part.learning_rate[-1]), part.weight_decay
    theory = part.equilibrium_angular_update
    relative = means(part.angular_update / theory[:, None], kept)
    end = part.angular_update[-max(1, round(END * len(part))) :].mean(axis=0) / theory[-1]
    needed = math.inf
    if decay is not None and stage.factor > 1:
        needed = steps_to_new_equilibrium(stage.factor, rate, decay, part.momentum)
    is_long_enough = needed <= stage.steps
    place = min(int(min(needed, stage.steps) // (kept * part.every)), len(relative) - 1)
    error: Any = NAN
    if decay is not None:
        predicted = course(part, kept)
        error = np.median(np.abs(means(part.angular_update, kept) / predicted - 1), axis=0)
    return {
        "stage": stage.number,
        "steps": stage.steps,
        "learning_rate": rate,
        "factor": stage.factor,
        "relative_at_start": relative[0],
        "relative_at_end": end,
        "is_long_enough": is_long_enough,
        "relative_at_corollary": relative[place] if is_long_enough else NAN,
        "largest_departure": np.abs(relative - 1).max(axis=0),
        "course_error": error,
    }

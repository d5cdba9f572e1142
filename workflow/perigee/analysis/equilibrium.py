"""How near weights and angular updates are to their equilibrium (Wan et al. 2021, Section 4.1).

The paper estimates expectations by means over 200 consecutive steps; so do these tables. Where only
every n-th step of a layer is kept, a mean is over those of the 200 that are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.layer_steps import Floats, LayerSteps, means, running_means
from perigee.dynamics.equilibrium import largest_decay, largest_drift, least_unit_gradient

NAN = math.nan

NEAR = 0.1
"""How far from its theoretical value, relative to it, an angular update or a loss is near it."""

FIRST_STEPS = 10
"""The steps that are "the very beginning"."""


def tabulate_steps(
    runs: Sequence[RunInput], *, layers: Sequence[str], window: int, rows: int
) -> pd.DataFrame:
    """Make a row per run, layer and step, of evenly spaced steps.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``layer``, ``step`` (from 0), ``learning_rate``, and at that step ``norm``, ``angular_update``
    and ``unit_gradient``; ``equilibrium_angular_update``; the running mean ``mean_unit_gradient``,
    and ``equilibrium_norm`` that is computed from it.

    Args:
        runs: finished runs with the measure ``layers`` or ``thinned_layers``.
        layers: names of layers; all if none is named.
        window: steps of a mean.
        rows: of a run and layer at most.
    """
    return pd.concat(
        [_steps_of(place, run, layers, window, rows) for place, run in enumerate(runs)],
        ignore_index=True,
    )


def tabulate_courses(
    runs: Sequence[RunInput], *, layers: Sequence[str], window: int
) -> pd.DataFrame:
    """Make a row per run, layer and window of consecutive steps.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``layer``, ``step`` (the first of the window, from 0), and means over the window: ``norm``,
    ``angular_update``, ``unit_gradient``, ``equilibrium_norm`` (computed from the mean of the unit
    gradients), ``equilibrium_angular_update``, ``relative_norm`` and ``relative_angular_update``
    (to their equilibrium).

    Args:
        runs, layers, window: see `tabulate_steps`.
    """
    parts = []
    for place, run in enumerate(runs):
        for steps in LayerSteps.each(run, layers):
            windows = _Windows(steps, window)
            columns = {
                "norm": windows.norm,
                "angular_update": windows.angular_update,
                "unit_gradient": windows.unit_gradient,
                "equilibrium_norm": windows.equilibrium_norm,
                "equilibrium_angular_update": windows.equilibrium_angular_update,
                "relative_norm": windows.relative_norm,
                "relative_angular_update": windows.relative_angular_update,
            }
            (name,) = steps.names
            told = {"run": place, **run.labels(), "layer": name, "step": windows.first_step}
            flat = {key: values.reshape(-1) for key, values in columns.items()}
            parts.append(pd.DataFrame({**told, **flat}))
    return pd.concat(parts, ignore_index=True)


def tabulate(
    runs: Sequence[RunInput], *, layers: Sequence[str], window: int, late_fraction: float
) -> pd.DataFrame:
    """Tell whether runs are in equilibrium and inside the theorems, a row per run and layer.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``layer``;

    - ``initial_deviation``: how far the mean angular update of the first steps is from its
      equilibrium, relative to it;
    - ``arrival_step``: steps until a window's mean angular update is first within a tenth of its
      equilibrium; NaN if none is;
    - late in the run ``mean_angular_update`` and ``relative_angular_update`` (the same over its
      equilibrium),
      ``angular_update_deviation`` and ``norm_deviation`` (medians over windows of how far angular
      update and norm are from equilibrium, relative to it), ``norm_spread`` (root mean square of
      the distance of ||w||^2 from (w*)^2, relative to it), ``norm_correlation`` (of the logarithms
      of norm and equilibrium norm over windows), ``momentum_share`` (of |mean 2 alpha <v, g>| in
      the mean of ||g||^2);
    - the assumptions of Theorems 1 and 2, late in the run: ``decay`` (lambda eta) and
      ``largest_decay``; ``least_unit_gradient`` (l, relative to L) and the ``least_allowed``;
      ``drift`` (the slope of L over steps, as a least-squares line has it, without its sign) and
      ``largest_drift`` (with V the largest variance of a window); ``is_decay_small``,
      ``is_gradient_bounded``, ``is_drift_small``, and ``is_inside`` for all three.

    Args:
        runs, layers, window: see `tabulate_steps`.
        late_fraction: the last part of each run that is late.
    """
    rows = []
    for place, run in enumerate(runs):
        for steps in LayerSteps.each(run, layers):
            windows = _Windows(steps, window)
            columns = {
                **_arrival(steps, windows),
                **_late(steps, windows, late_fraction),
                **_assumptions(steps, windows, late_fraction),
            }
            rows += [{"run": place, **run.labels(), **row} for row in steps.rows(columns)]
    return pd.DataFrame(rows)


def tabulate_runs(runs: Sequence[RunInput], *, window: int, late_fraction: float) -> pd.DataFrame:
    """Compare layers, and their arrival with that of the loss, a row per run.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``layer_spread`` (coefficient of variation over layers of the late mean angular update),
    ``layers_near`` (share of layers in which it is within a tenth of its equilibrium),
    ``arrival_step`` (median over layers, see `tabulate`; NaN if most never arrive),
    ``loss_arrival_step`` (the steps after which the train loss is first within a tenth of its late
    median), ``arrival_to_loss_arrival`` (NaN if it is so at once), and medians over the late
    epochs: ``late_train_loss``, ``late_train_error``, ``late_test_loss``, ``late_test_error``.

    Args:
        runs, window, late_fraction: see `tabulate`.
    """
    rows = []
    for place, run in enumerate(runs):
        of_layers = []
        for steps in LayerSteps.each(run):
            windows = _Windows(steps, window)
            late = windows.late(late_fraction)
            of_layers.append(
                (
                    windows.angular_update[late].mean(),
                    windows.relative_angular_update[late].mean(),
                    _arrival(steps, windows)["arrival_step"].item(),
                )
            )
        angle, relative, arrivals = np.array(of_layers).T
        arrival = float(np.median(np.nan_to_num(arrivals, nan=np.inf)))
        arrival = arrival if math.isfinite(arrival) else NAN
        losses = _losses(run, late_fraction)
        rows.append(
            {
                "run": place,
                **run.labels(),
                "layer_spread": angle.std() / angle.mean(),
                "layers_near": float(np.mean(np.abs(relative - 1) <= NEAR)),
                "arrival_step": arrival,
                "arrival_to_loss_arrival": arrival / (losses["loss_arrival_step"] or NAN),
                **losses,
            }
        )
    return pd.DataFrame(rows)


class _Windows:
    """Means over windows of consecutive steps, (windows, layers), and their equilibrium.

    Attributes:
        kept: how many kept steps a window has.
        length: how many steps of the run it stands for.
        first_step: the first of each in the run.
    """

    def __init__(self, steps: LayerSteps, window: int) -> None:
        self.kept = min(steps.within(window), len(steps))
        self.length = self.kept * steps.every
        self.norm = means(steps.norm, self.kept)
        self.angular_update = means(steps.angular_update, self.kept)
        self.unit_gradient = means(steps.unit_gradient, self.kept)
        self.learning_rate = means(steps.learning_rate, self.kept)
        self.equilibrium_norm = steps.equilibrium_norm(self.unit_gradient, self.learning_rate)
        self.equilibrium_angular_update = means(steps.equilibrium_angular_update, self.kept)
        self.relative_norm = self.norm / self.equilibrium_norm
        self.relative_angular_update = (
            self.angular_update / self.equilibrium_angular_update[:, None]
        )
        self.first_step = np.arange(len(self.norm)) * self.length

    def late(self, fraction: float) -> slice:
        """The windows of the last part of the run, one at least."""
        return slice(-max(1, round(fraction * len(self.norm))), None)

    def late_from(self, fraction: float) -> int:
        """The place of the first of these windows' steps among the kept ones."""
        count = len(self.norm[self.late(fraction)])
        return (len(self.norm) - count) * self.kept


def _steps_of(
    place: int, run: RunInput, layers: Sequence[str], window: int, rows: int
) -> pd.DataFrame:
    parts = []
    for steps in LayerSteps.each(run, layers):
        shown = np.unique(np.linspace(0, len(steps) - 1, min(rows, len(steps))).round().astype(int))
        mean = running_means(steps.unit_gradient, steps.within(window))[shown]
        columns = {
            "learning_rate": steps.learning_rate[shown],
            "norm": steps.norm[shown],
            "angular_update": steps.angular_update[shown],
            "unit_gradient": steps.unit_gradient[shown],
            "equilibrium_angular_update": steps.equilibrium_angular_update[shown],
            "mean_unit_gradient": mean,
            "equilibrium_norm": steps.equilibrium_norm(mean, steps.learning_rate[shown]),
        }
        (name,) = steps.names
        told = {"run": place, **run.labels(), "layer": name, "step": steps.step[shown]}
        flat = {key: values.reshape(-1) for key, values in columns.items()}
        parts.append(pd.DataFrame({**told, **flat}))
    return pd.concat(parts)


def _arrival(steps: LayerSteps, windows: _Windows) -> Mapping[str, Floats]:
    beginning = slice(steps.within(FIRST_STEPS))
    theory = steps.equilibrium_angular_update[beginning].mean()
    first = steps.angular_update[beginning].mean(axis=0)
    near = np.abs(windows.relative_angular_update - 1) <= NEAR
    arrived = (near.argmax(axis=0) + 1.0) * windows.length
    return {
        "initial_deviation": np.abs(first / theory - 1),
        "arrival_step": np.where(near.any(axis=0), arrived, np.nan),
    }


def _late(steps: LayerSteps, windows: _Windows, fraction: float) -> Mapping[str, Floats]:
    late = windows.late(fraction)
    begin = windows.late_from(fraction)
    square = steps.norm[begin:] ** 2
    theory = np.repeat(windows.equilibrium_norm[late] ** 2, windows.kept, axis=0)
    square, theory = square[: len(theory)], theory[: len(square)]
    gradient = (steps.gradient_norm[begin:] ** 2).mean(axis=0)
    product = 2 * steps.momentum * steps.velocity_gradient[begin:].mean(axis=0)
    return {
        "mean_angular_update": windows.angular_update[late].mean(axis=0),
        "relative_angular_update": windows.relative_angular_update[late].mean(axis=0),
        "angular_update_deviation": np.median(
            np.abs(windows.relative_angular_update[late] - 1), axis=0
        ),
        "norm_deviation": np.median(np.abs(windows.relative_norm[late] - 1), axis=0),
        "norm_spread": np.sqrt(np.mean((square / theory - 1) ** 2, axis=0)),
        "norm_correlation": _correlations(windows.norm[late], windows.equilibrium_norm[late]),
        "momentum_share": np.abs(product) / gradient,
    }


def _correlations(first: Floats, second: Floats) -> Floats:
    """The correlation of the logarithms, column by column; NaN of a constant column."""
    logs = [np.log(values) - np.log(values).mean(axis=0) for values in (first, second)]
    sizes = np.prod([np.sqrt((one**2).sum(axis=0)) for one in logs], axis=0)
    with np.errstate(invalid="ignore"):
        found: Floats = (logs[0] * logs[1]).sum(axis=0) / sizes
    return found


def _assumptions(steps: LayerSteps, windows: _Windows, fraction: float) -> Mapping[str, Any]:
    late = windows.late(fraction)
    begin = windows.late_from(fraction)
    end = begin + len(windows.norm[late]) * windows.kept
    unit, mean = steps.unit_gradient[begin:end], windows.unit_gradient[late]
    squares = (unit - np.repeat(mean, windows.kept, axis=0)) ** 2
    variance = means(squares, windows.kept).max(axis=0)
    least = (unit / np.repeat(mean, windows.kept, axis=0)).min(axis=0)
    time = np.arange(len(mean)) * float(windows.length)
    time -= time.mean()
    drift = np.abs((time[:, None] * mean).sum(axis=0) / (time**2).sum()) if len(time) > 1 else NAN
    rate, decay = float(steps.learning_rate[begin:].max()), steps.weight_decay
    if decay is None:
        product, bounds = NAN, (NAN, NAN, np.full(len(steps.names), NAN))
    else:
        product = rate * decay
        bounds = (
            largest_decay(steps.momentum),
            least_unit_gradient(rate, decay, steps.momentum),
            np.array([largest_drift(rate, decay, float(one)) for one in variance]),
        )
    held = {
        "is_decay_small": np.full(len(steps.names), product < bounds[0]),
        "is_gradient_bounded": least > bounds[1],
        "is_drift_small": drift < bounds[2],
    }
    return {
        "decay": product,
        "largest_decay": bounds[0],
        "least_unit_gradient": least,
        "least_allowed": bounds[1],
        "drift": np.broadcast_to(drift, len(steps.names)),
        "largest_drift": bounds[2],
        **held,
        "is_inside": np.logical_and.reduce(list(held.values())),
    }


def _losses(run: RunInput, fraction: float) -> dict[str, float]:
    """When the train loss arrives at its late level, and medians over the late epochs."""
    metrics = run.metrics()
    late = metrics.iloc[-max(1, round(fraction * (len(metrics) - 1))) :]
    final = late["train_loss"].median()
    near = (metrics["train_loss"] / final - 1).abs() <= NEAR
    first = metrics["epoch"][near].min()
    names = ("train_loss", "train_error", "test_loss", "test_error")
    return {
        "loss_arrival_step": float(first) * run.steps_per_epoch,
        **{f"late_{name}": late[name].median() for name in names},
    }

"""Steps of every scale-invariant weight tensor, and means over consecutive ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perigee.analysis.descriptions import description
from perigee.analysis.inputs import RunInput
from perigee.dynamics.equilibrium import equilibrium_angular_update, equilibrium_norm
from perigee.errors import PerigeeError

Floats = NDArray[np.float64]

LAYERS, THINNED = "layers", "thinned_layers"
VELOCITY_GRADIENT = "velocity_gradient"
SGD = "sgd"


@dataclass(frozen=True)
class LayerSteps:
    """The measure ``layers`` of a run, with the settings by which the theorems judge it.

    Of a run with the measure ``thinned_layers`` instead they are the steps that are kept, and
    ``steps`` below is their number.

    Attributes:
        names: of the tensors.
        step: the number of each step in the run, from 0, (steps,).
        every: steps of the run from one to the next.
        norm, gradient_norm: ||w_t|| and ||g_t|| before each step, (steps, tensors).
        angular_update: Delta_t in radians, (steps, tensors).
        velocity_gradient: <v_{t-1}, g_t>, (steps, tensors); zeros without momentum.
        learning_rate: eta of each step, (steps,). It is that of the first step of its epoch, and
            too low to the end of an epoch in which a warm-up ends.
        weight_decay: lambda of SGD; None without any, and of another update rule, since the
            theorems say nothing of these.
        momentum: alpha of SGD; 0 of another update rule.
    """

    names: tuple[str, ...]
    step: NDArray[np.int64]
    every: int
    norm: Floats
    gradient_norm: Floats
    angular_update: Floats
    velocity_gradient: Floats
    learning_rate: Floats
    weight_decay: float | None
    momentum: float

    @classmethod
    def each(cls, run: RunInput, layers: Sequence[str] = ()) -> Iterator[LayerSteps]:
        """Read a run layer by layer; all layers of a long run together may not fit into memory.

        Args:
            run, layers: see `of`.

        Yields:
            The steps of one tensor.

        Raises:
            PerigeeError: the network has no such layer.
        """
        for name in layers or _names(run):
            yield cls.of(run, [name])

    @classmethod
    def of(cls, run: RunInput, layers: Sequence[str]) -> LayerSteps:
        """Read some layers of a run.

        Args:
            run: a finished run with the measures ``metrics`` and ``layers``.
            layers: their names, such as "layer2.0.conv2"; of a run whose layers are thinned,
                those of which the same steps are kept.

        Raises:
            PerigeeError: the network has no such layer.
        """
        known = _names(run)
        for name in layers:
            if name not in known:
                raise PerigeeError(
                    f"The network has no scale-invariant layer '{name}'; it has {', '.join(known)}."
                )
        places = [known.index(name) for name in layers]
        step, every, numbers = (
            _thinned(run, places) if THINNED in run.measures else _all(run, places)
        )
        numbers.setdefault(VELOCITY_GRADIENT, np.zeros_like(numbers["norm"]))
        return cls(
            names=tuple(known[place] for place in places),
            step=step,
            every=every,
            learning_rate=rates_of(run, step),
            weight_decay=run.weight_decay or None,
            momentum=run.momentum if run.optimiser.get("name") == SGD else 0.0,
            **numbers,
        )

    def rows(self, columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield a row of a table for each layer.

        Args:
            columns: a value for all layers, or an array with one for each, by name.
        """
        for place, name in enumerate(self.names):
            row = {
                key: value[place].item() if isinstance(value, np.ndarray) else value
                for key, value in columns.items()
            }
            yield {"layer": name, **row}

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.norm)

    def within(self, steps: int) -> int:
        """How many of these steps stand for so many consecutive steps of the run; one at least."""
        return max(1, steps // self.every)

    @property
    def unit_gradient(self) -> Floats:
        """||~g_t||^2, and with momentum ~h_t (Wan et al. 2021, Theorems 1 and 2)."""
        square = self.gradient_norm**2 + 2 * self.momentum * self.velocity_gradient
        return square * self.norm**2

    @property
    def equilibrium_angular_update(self) -> Floats:
        """Theorem 3's angular update in every step, (steps,); NaN where there is none."""
        if self.weight_decay is None:
            return np.full(len(self), np.nan)
        return equilibrium_angular_update(self.learning_rate, self.weight_decay, self.momentum)

    def equilibrium_norm(self, unit_gradient: Floats, learning_rate: Floats) -> Floats:
        """The norm of Theorems 1 and 2; NaN where there is none.

        Args:
            unit_gradient: L, (k, tensors).
            learning_rate: eta, (k,).
        """
        if self.weight_decay is None:
            return np.full_like(unit_gradient, np.nan)
        squares = np.where(unit_gradient > 0, unit_gradient, np.nan)
        rate = np.broadcast_to(learning_rate[:, None], squares.shape)
        return equilibrium_norm(rate, self.weight_decay, squares, self.momentum)


def rates_of(run: RunInput, step: NDArray[np.int64]) -> Floats:
    """The learning rate of steps, see `LayerSteps.learning_rate`.

    Args:
        run: a finished run with the measure ``metrics``.
        step: numbers of steps, from 0.
    """
    rates = run.metrics()["learning_rate"].to_numpy(float)
    found: Floats = rates[np.minimum(step // run.steps_per_epoch, len(rates) - 1)]
    return found


def _all(run: RunInput, places: Sequence[int]) -> tuple[NDArray[np.int64], int, dict[str, Floats]]:
    """All steps of some layers: their numbers, one, and the columns."""
    rows = run.rows(LAYERS)
    numbers = {name: rows[name][:, places].astype(float) for name in rows.dtype.names or ()}
    return np.arange(len(rows)), 1, numbers


def _thinned(
    run: RunInput, places: Sequence[int]
) -> tuple[NDArray[np.int64], int, dict[str, Floats]]:
    """The kept steps of some layers: their numbers, the steps between them, and the columns."""
    told, rows = description(run, THINNED), run.rows(THINNED)
    known = _names(run)
    every = {1 if known[place] in told["in_full"] else told["every"] for place in places}
    assert len(every) == 1, "layers of which other steps are kept are read one by one"
    parts = [rows[rows["layer"] == place] for place in places]
    names = [name for name in rows.dtype.names or () if name not in ("epoch", "step", "layer")]
    numbers = {
        name: np.stack([part[name] for part in parts], axis=1).astype(float) for name in names
    }
    return parts[0]["step"].astype(np.int64), every.pop(), numbers


def _names(run: RunInput) -> list[str]:
    """The names of the layers of a run."""
    measure = THINNED if THINNED in run.measures else LAYERS
    return [name.removesuffix(".weight") for name in description(run, measure)[LAYERS]]


def means(values: Floats, window: int) -> Floats:
    """The means over windows of consecutive steps; steps left over at the end do not count.

    Args:
        values: (steps, ...).
        window: steps of a window; if there are fewer steps, all of them are one window.

    Returns:
        (windows, ...).
    """
    window = min(window, len(values))
    count = len(values) // window if window else 0
    averaged: Floats = values[: count * window].reshape(count, window, *values.shape[1:]).mean(1)
    return averaged


def running_means(values: Floats, window: int) -> Floats:
    """The means over the steps around each step, of which there are fewer at both ends.

    Args:
        values: (steps, ...).
        window: steps of a window.

    Returns:
        The shape of ``values``.
    """
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    places = np.arange(len(values))
    first = np.maximum(places - window // 2, 0)
    last = np.minimum(places + (window + 1) // 2, len(values))
    counts = (last - first).reshape(-1, *[1] * (values.ndim - 1))
    averaged: Floats = (sums[last] - sums[first]) / counts
    return averaged

"""The distance of training from a minimum: weights and ensembles against an anchor checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee.analysis.courses import Course, course_of_metrics
from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import (
    Destabilisation,
    consistent_from,
    find_periods,
    late_part,
)
from perigee.checkpoints import KeptCheckpoints
from perigee.dynamics.similarity import (
    cosine_similarities,
    ensemble_gains,
    ensemble_test_error,
)
from perigee.errors import PerigeeError
from perigee.evaluation.files import Predictions

CONSISTENT, FIRST_PERIOD, FIRST_HALF = "consistent_stage", "first_period", "first_half"
"""The rules by which an anchor may be found."""


@dataclass(frozen=True)
class _Run:
    """A run with its kept checkpoints.

    Attributes:
        metrics: the metrics of every epoch, by epoch.
        kept: the rows of the kept epochs.
        checkpoints, predictions: the checkpoints of these epochs, and their predictions.
        course: with all destabilisations; positions are epochs.
    """

    metrics: pd.DataFrame
    kept: pd.DataFrame
    checkpoints: KeptCheckpoints
    predictions: Predictions
    course: Course

    @classmethod
    def read(cls, run: RunInput, near_zero: str) -> _Run:
        metrics = run.metrics().set_index("epoch", drop=False)
        checkpoints = run.checkpoints()
        kept = metrics.loc[list(checkpoints.epochs)]
        predictions = Predictions.load(run.evaluations["predictions"])
        course = course_of_metrics(metrics, near_zero)
        return cls(metrics, kept, checkpoints, predictions, course)

    def weights(self, epoch: int) -> NDArray[np.float64]:
        """The scale-invariant weights of a checkpoint as one vector."""
        vector = self.checkpoints.vector(epoch)[: self.checkpoints.weights]
        return np.array(vector, dtype=np.float64)

    def probabilities(self, epoch: int) -> NDArray[np.float32]:
        """The class probabilities of a checkpoint, (test images, classes)."""
        return np.array(self.predictions.probabilities[self.predictions.epochs.index(epoch)])


def tabulate(runs: Sequence[RunInput], *, near_zero: str) -> pd.DataFrame:
    """Compare each run's later checkpoints with its anchor and with an independent checkpoint.

    Lobacheva et al. 2021, Section 6 and Figure 6. The paper takes as anchor "the minimum achieved
    when the training process has already converged to the consistent periodic behavior", and from
    an independent run "its checkpoint with the same test error". `choose_anchor` and
    `choose_independent` give our rules; the independent run is the one of the next seed, and for
    the last seed that of the first.

    Args:
        runs: runs with checkpoints and predictions, at least two of different seeds per setting.
        near_zero: a key of `perigee.analysis.periods.FLOORS`, whose column identifies phase B;
            the anchor has the lowest train loss, whichever the column is.

    Returns:
        A row per kept checkpoint from the anchor on. Columns ``run``, the swept values, ``epoch``,
        ``period`` (how many destabilisations there were since the anchor), ``phase`` (see
        `phase_at`), ``minimum`` (whether it belongs to the last third of a phase B, see
        `minima_of`), ``train_loss``, ``test_error``, ``anchor_epoch``, ``anchor_rule``,
        ``anchor_test_error``, ``cosine_similarity`` (of the scale-invariant weights),
        ``ensemble_test_error`` (of the anchor and the checkpoint), and the same against the
        independent checkpoint: ``independent_epoch``, ``independent_test_error``,
        ``independent_cosine_similarity``, ``independent_ensemble_test_error``.

    Raises:
        PerigeeError: a run has no other to compare it with.
    """
    tables = []
    for position, run in enumerate(runs):
        other = runs[_next_seed(runs, position)]
        table = _compared(_Run.read(run, near_zero), _Run.read(other, near_zero))
        for column, value in reversed({"run": position, **run.labels()}.items()):
            table.insert(0, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def tabulate_gains(runs: Sequence[RunInput], *, near_zero: str) -> pd.DataFrame:
    """Gains of ensembles of two networks, image by image, in each period after the anchor.

    A network in a minimum later than the anchor makes one ensemble with the anchor, and one with
    the independent checkpoint; `tabulate` says how these two are chosen.

    Args:
        runs, near_zero: see `tabulate`.

    Returns:
        A row per run, period, partner and test image. Columns ``run``, the swept values,
        ``period`` (0 is the anchor's), ``last`` (whether it is the last one after the anchor's),
        ``partner`` ("anchor" or "independent"), ``image`` (from 0), and ``gain``, the mean over the
        period's minima of what `perigee.dynamics.similarity.ensemble_gains` says.

    Raises:
        PerigeeError: a run has no other to compare it with.
    """
    columns = ["period", "last", "partner", "image", "gain"]
    tables = [pd.DataFrame(columns=["run", *runs[0].labels(), *columns])]
    for position, run in enumerate(runs):
        own = _Run.read(run, near_zero)
        other = _Run.read(runs[_next_seed(runs, position)], near_zero)
        labels, minima = own.predictions.labels, minima_of(own.course)
        anchor, _, independent = _references(own, other)
        partners = {"anchor": (own, anchor), "independent": (other, independent)}
        epochs: dict[int, list[int]] = {}
        for epoch in own.checkpoints.epochs:
            if epoch > anchor and epoch in minima:
                period = period_at(epoch, own.course.found) - period_at(anchor, own.course.found)
                epochs.setdefault(period, []).append(epoch)
        for period, (partner, (of, chosen)) in itertools.product(epochs, partners.items()):
            gains = [
                ensemble_gains(of.probabilities(chosen), own.probabilities(epoch), labels)
                for epoch in epochs[period]
            ]
            told = (period, 0 < period == max(epochs), partner, np.arange(len(labels)))
            values = dict(zip(columns, (*told, np.mean(gains, axis=0)), strict=True))
            tables.append(pd.DataFrame({"run": position, **run.labels(), **values}))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def choose_anchor(
    metrics: pd.DataFrame, kept: Sequence[int], found: Sequence[Destabilisation]
) -> tuple[int, str]:
    """Choose the anchor: a kept checkpoint of low train loss in the last third of a phase B.

    It is the one of lowest loss in the first half of that third: the lowest of all would mostly be
    at its end, with no later minimum of its period to compare it with. The phase belongs to the
    first complete period of the consistent stage, or, if there is none, to the first complete
    period; in either case it has a kept checkpoint there. Otherwise the anchor is the checkpoint of
    lowest train loss in the first half of the run (all this is our choice).

    Args:
        metrics: a row per epoch, from epoch 0.
        kept: epochs of the checkpoints, ascending.
        found: all destabilisations of the run.

    Returns:
        The epoch, and the rule that gave it: `CONSISTENT`, `FIRST_PERIOD` or `FIRST_HALF`.
    """
    loss = metrics["train_loss"].to_numpy(dtype=float)
    loss = np.where(np.isfinite(loss), loss, np.inf)
    warm_up = consistent_from(found, metrics["weight_norm"].to_numpy(dtype=float))
    for stage, rule in ((found[warm_up:], CONSISTENT), (found, FIRST_PERIOD)):
        for period in find_periods(stage):
            late = late_part(period.falling, period.rising)
            middle = (late.start + late.stop) / 2
            inside = [epoch for epoch in kept if late.start <= epoch <= middle]
            if inside:
                return min(inside, key=lambda epoch: loss[epoch]), rule
    first_half = [epoch for epoch in kept if 2 * epoch <= len(loss) - 1]
    return min(first_half, key=lambda epoch: loss[epoch]), FIRST_HALF


def choose_independent(kept: pd.DataFrame, test_error: float, epoch: int) -> int:
    """Choose the epoch whose test error is nearest to the anchor's; of several, the nearest epoch.

    Args:
        kept: rows of the independent run's checkpoints; those with a finite loss count.
        test_error, epoch: the anchor's test error and epoch.

    Raises:
        PerigeeError: no checkpoint has a finite loss.
    """
    finite = kept[np.isfinite(kept[["train_loss", "test_error"]]).all(axis=1)]
    if finite.empty:
        raise PerigeeError("The independent run has no checkpoint of a finite loss.")
    return int(
        min(
            finite["epoch"],
            key=lambda one: (abs(finite["test_error"][one] - test_error), abs(one - epoch)),
        )
    )


def period_at(epoch: int, found: Sequence[Destabilisation]) -> int:
    """The number of destabilisations so far: a period begins with the peak of the loss."""
    return sum(one.loss_peak <= epoch for one in found)


def phase_at(epoch: int, found: Sequence[Destabilisation]) -> str:
    """The phase, "A", "B" or "C"; "start" before the first destabilisation."""
    if any(one.loss_onset <= epoch < one.loss_peak for one in found):
        return "C"
    if any(one.loss_peak <= epoch < one.norm_peak for one in found):
        return "A"
    return "B" if period_at(epoch, found) else "start"


def minima_of(course: Course) -> set[int]:
    """The epochs in the last third of a phase B after the first destabilisation.

    The phase that the run's end cuts off counts by `Course.phases_b`.
    """
    return {
        epoch
        for start, end in course.phases_b[1:]
        if end > start
        for epoch in range(*late_part(start, end).indices(end))
    }


def _references(run: _Run, other: _Run) -> tuple[int, str, int]:
    """A run's anchor, the rule that gave it, and the epoch of the independent checkpoint."""
    anchor, rule = choose_anchor(run.metrics, run.checkpoints.epochs, run.course.found)
    error = float(run.metrics["test_error"][anchor])
    return anchor, rule, choose_independent(other.kept, error, anchor)


def _compared(run: _Run, other: _Run) -> pd.DataFrame:
    found, minima = run.course.found, minima_of(run.course)
    anchor, rule, independent = _references(run, other)
    references = run.weights(anchor), other.weights(independent)
    if len(references[0]) != len(references[1]):
        raise PerigeeError("Two runs of one setting differ in their numbers of weights.")
    cosines = cosine_similarities(run.checkpoints, references)
    later = [position for position, epoch in enumerate(run.checkpoints.epochs) if epoch >= anchor]
    epochs = [run.checkpoints.epochs[position] for position in later]
    labels = run.predictions.labels

    def errors_with(probabilities: NDArray[np.float32]) -> list[float]:
        return [
            ensemble_test_error(probabilities, run.probabilities(epoch), labels) for epoch in epochs
        ]

    return pd.DataFrame(
        {
            "epoch": epochs,
            "period": [period_at(epoch, found) - period_at(anchor, found) for epoch in epochs],
            "phase": [phase_at(epoch, found) for epoch in epochs],
            "minimum": [epoch in minima for epoch in epochs],
            "train_loss": run.kept["train_loss"].to_numpy()[later],
            "test_error": run.kept["test_error"].to_numpy()[later],
            "anchor_epoch": anchor,
            "anchor_rule": rule,
            "anchor_test_error": float(run.metrics["test_error"][anchor]),
            "cosine_similarity": cosines[0, later],
            "ensemble_test_error": errors_with(run.probabilities(anchor)),
            "independent_epoch": independent,
            "independent_test_error": float(other.metrics["test_error"][independent]),
            "independent_cosine_similarity": cosines[1, later],
            "independent_ensemble_test_error": errors_with(other.probabilities(independent)),
        }
    )


def _next_seed(runs: Sequence[RunInput], position: int) -> int:
    """The position of the independent run of a run, which differs from it only in the seed."""

    def setting(run: RunInput) -> dict[str, object]:
        return {key: value for key, value in run.swept.items() if key != "seed"}

    alike = [n for n, run in enumerate(runs) if setting(run) == setting(runs[position])]
    if len(alike) < 2:
        raise PerigeeError("A run has no other of the same setting and another seed.")
    return alike[(alike.index(position) + 1) % len(alike)]

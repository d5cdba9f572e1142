"""Fine-tuning with another rate, compared with training at one rate (Kodryan et al. 2022).

Section 5.1 and Figure 3 fine-tune in the first regime: with a decreased rate a run stays on the
trajectory of its pre-training, with an increased one it jumps to that of the new rate. Section 5.2
and Figure 5 fine-tune checkpoints of the second regime: with another rate of this regime the train
loss comes to the level of the new rate, with rates of the first regime runs converge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import Floats
from perigee.analysis.sharpness_profiles import Profile, common_levels, level_of, profile_of

NAN = math.nan

CONVERGED = 0.01
"""The late train error below which a run has converged; our choice."""

LEVELS_PER_DECADE = 4
"""The levels of train loss in each factor of ten; our choice."""

SMALLEST_GAP = 0.01
"""The least difference of log10 g~ between two trajectories of which a share can be taken."""

EARLY_PART = 10
"""The first of so many parts of a fork are its first epochs."""

COLUMNS = (
    "is_fork",
    "is_converged",
    "parent_rate",
    "rate_ratio",
    "is_lower",
    "late_train_loss",
    "pre_late_train_loss",
    "base_late_train_loss",
    "level_log_ratio",
    "distance_from_pre",
    "is_nearer_to_base",
    "loss_at_fork",
    "early_loss_ratio",
    "loss_rise",
    "loss_fall",
    "common_level",
    "log10_effective_gradient_norm",
    "pre_log10_effective_gradient_norm",
    "base_log10_effective_gradient_norm",
    "share",
    "log10_distance_to_flattest",
    "spread_level",
    "log10_at_spread_level",
)
"""The columns of the table behind those that tell the runs apart."""


def tabulate(runs: Sequence[RunInput], *, rate: str, late_fraction: float) -> pd.DataFrame:
    """Make a row per run: forks, and the runs from the initialisation that they are compared with.

    A fork continues a checkpoint of a run at another rate. Of the runs from the initialisation of
    the same seed, "pre" is that at the rate of the fork's parent, in full length, and "base" that
    at the fork's own rate. Levels of train loss, and where a run crosses them, are those of
    `perigee.analysis.sharpness_profiles.profile_of`; a fork's are those of its own epochs.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``fork_epoch`` (the epoch of its parent at which it starts; 0 without a parent), ``is_fork``,
    ``is_converged`` (whether the median train error of its late epochs is below `CONVERGED`) and
    ``late_train_loss`` (the median of these epochs). All else is NaN of runs from the
    initialisation, but for the last two columns.

    Rates: ``parent_rate``, ``rate_ratio`` (the fork's own over its parent's) and ``is_lower`` (1 if
    its own is lower, else 0).

    Levels of the late train loss: ``pre_late_train_loss``, ``base_late_train_loss``,
    ``level_log_ratio`` and ``distance_from_pre`` (the absolute logarithms of the fork's over that
    of base and over that of pre) and ``is_nearer_to_base`` (1 if the former is smaller, else 0).

    Course of the train loss: ``loss_at_fork`` (before the fork's first step), ``early_loss_ratio``
    (the lowest of the first tenth of its epochs over that), ``loss_rise`` (its maximum after the
    fork over that) and ``loss_fall`` (the final one over this maximum).

    Sharpness: ``common_level`` (the lowest level that fork, pre and base cross),
    ``log10_effective_gradient_norm``, ``pre_log10_effective_gradient_norm`` and
    ``base_log10_effective_gradient_norm`` there, and ``share``, the part of the way from pre to
    base that the fork's has gone: 0 on the trajectory of pre, 1 on that of base, NaN if the two
    differ by less than `SMALLEST_GAP`. ``log10_distance_to_flattest`` is log10 g~ of the fork less
    that of the converged run from the initialisation with the largest rate, at the lowest level
    that both cross.

    Spread: ``log10_at_spread_level`` is log10 g~ at ``spread_level``, so that its standard
    deviation over runs can be taken. Of forks this is the lowest level that all forks of the same
    seed and parent's rate cross. Of converged runs from the initialisation it is the lowest that
    all of these and all forks of the seed cross, or if there is none the lowest that the former do.

    Numbers are NaN where a run that they need is missing, has diverged, or crosses no such level.

    Args:
        runs: finished runs; those whose swept values have the parent's rate, under "parent.run."
            before ``rate``, or that start at a later epoch of a parent, are forks.
        rate: the dotted key of the rate.
        late_fraction: the last part of each run's epochs, which are its late ones.
    """
    trajectories = [trajectory_of(run, rate, late_fraction) for run in runs]
    rows = []
    for position, (run, one) in enumerate(zip(runs, trajectories, strict=True)):
        seed = run.swept.get("seed")
        beside = RunsOfSeed.among(other for other in trajectories if other.seed == seed)
        found = of_fork(one, beside) if one.is_fork else of_start(one, beside)
        told = {"run": position, **run.labels(), "fork_epoch": run.fork_epoch}
        rows.append({**told, **dict.fromkeys(COLUMNS, NAN), **found})
    names = dict.fromkeys(name for run in runs for name in run.labels())
    return pd.DataFrame(rows, columns=["run", *names, "fork_epoch", *COLUMNS])


@dataclass(frozen=True)
class Trajectory:
    """A run, as far as it is compared with others.

    Attributes:
        seed: its seed, None if the runs are not told apart by it.
        is_fork: whether it starts from a checkpoint of another run.
        rate, parent_rate: its rate and that of its parent; NaN if there is none.
        loss: its train loss, (epochs + 1,).
        late_train_loss: the median of its late epochs.
        is_converged: whether it has converged by then.
        profile: its crossings of the levels of train loss.
    """

    seed: Any
    is_fork: bool
    rate: float
    parent_rate: float
    loss: Floats
    late_train_loss: float
    is_converged: bool
    profile: Profile

    def log10_gradient(self, k: int | None) -> float:
        """Log10 of the effective gradient norm at a level that it crosses; NaN at none."""
        return NAN if k is None else self.profile[k].log10_effective_gradient_norm


def trajectory_of(run: RunInput, rate: str, late_fraction: float) -> Trajectory:
    """Read a run.

    Args:
        run, rate, late_fraction: see `tabulate`.
    """
    metrics = run.metrics()
    loss, error = (metrics[name].to_numpy(float) for name in ("train_loss", "train_error"))
    late = max(1, round(late_fraction * (len(metrics) - 1)))
    own, parents = (run.labels().get(key) for key in (rate, f"parent.run.{rate}"))
    return Trajectory(
        seed=run.swept.get("seed"),
        is_fork=run.fork_epoch > 0 or parents is not None,
        rate=NAN if own is None else float(own),
        parent_rate=NAN if parents is None else float(parents),
        loss=loss,
        late_train_loss=_median(loss[-late:]),
        is_converged=_median(error[-late:]) < CONVERGED,
        profile=profile_of(metrics, LEVELS_PER_DECADE),
    )


@dataclass(frozen=True)
class RunsOfSeed:
    """The runs of one seed.

    Attributes:
        starts: those from the initialisation.
        forks: those from a checkpoint.
    """

    starts: tuple[Trajectory, ...]
    forks: tuple[Trajectory, ...]

    @classmethod
    def among(cls, runs: Iterable[Trajectory]) -> RunsOfSeed:
        """Sort runs by where they start."""
        given = tuple(runs)
        return cls(
            starts=tuple(one for one in given if not one.is_fork),
            forks=tuple(one for one in given if one.is_fork),
        )

    @property
    def converged_starts(self) -> tuple[Trajectory, ...]:
        """The runs from the initialisation that have converged."""
        return tuple(one for one in self.starts if one.is_converged)

    @property
    def flattest(self) -> Trajectory | None:
        """The converged run from the initialisation with the largest rate."""
        told = (one for one in self.converged_starts if not math.isnan(one.rate))
        return max(told, key=lambda one: one.rate, default=None)

    def start_at(self, rate: float) -> Trajectory | None:
        """The longest run from the initialisation at a rate."""
        found = (one for one in self.starts if one.rate == rate)
        return max(found, key=lambda one: len(one.loss), default=None)

    def spread_level_of_forks(self, parent_rate: float) -> int | None:
        """The lowest level that all forks from one rate cross."""
        return lowest_common_level([one for one in self.forks if one.parent_rate == parent_rate])

    @property
    def spread_level_of_starts(self) -> int | None:
        """The lowest level that all converged runs from the initialisation cross.

        If possible it is one that all forks cross, too.
        """
        with_forks = lowest_common_level([*self.converged_starts, *self.forks])
        alone = lowest_common_level(self.converged_starts)
        return alone if with_forks is None else with_forks


def lowest_common_level(runs: Sequence[Trajectory]) -> int | None:
    """The lowest level, by k, that all of some runs cross; None if there is none."""
    return min(common_levels([one.profile for one in runs]), default=None)


def of_start(one: Trajectory, beside: RunsOfSeed) -> dict[str, Any]:
    """The numbers of a run from the initialisation, by their columns.

    Args:
        one: the run.
        beside: all runs of its seed.
    """
    level = beside.spread_level_of_starts if one.is_converged else None
    return {**_of_every_run(one), **_at_spread_level(one, level)}


def of_fork(fork: Trajectory, beside: RunsOfSeed) -> dict[str, Any]:
    """The numbers of a fork, by their columns.

    Args:
        fork: the fork.
        beside: all runs of its seed.
    """
    pre, base = beside.start_at(fork.parent_rate), beside.start_at(fork.rate)
    return {
        **_of_every_run(fork),
        "parent_rate": fork.parent_rate,
        "rate_ratio": fork.rate / fork.parent_rate,
        "is_lower": _is_less(fork.rate, fork.parent_rate),
        **_of_late_losses(fork, pre, base),
        **_of_loss_after_fork(fork.loss),
        **_at_common_level(fork, pre, base),
        "log10_distance_to_flattest": _log10_distance(fork, beside.flattest),
        **_at_spread_level(fork, beside.spread_level_of_forks(fork.parent_rate)),
    }


def _of_every_run(one: Trajectory) -> dict[str, Any]:
    return {
        "is_fork": one.is_fork,
        "is_converged": one.is_converged,
        "late_train_loss": one.late_train_loss,
    }


def _of_late_losses(
    fork: Trajectory, pre: Trajectory | None, base: Trajectory | None
) -> dict[str, float]:
    of_pre, of_base = (NAN if one is None else one.late_train_loss for one in (pre, base))
    from_pre, from_base = (_log_ratio(fork.late_train_loss, loss) for loss in (of_pre, of_base))
    return {
        "pre_late_train_loss": of_pre,
        "base_late_train_loss": of_base,
        "level_log_ratio": from_base,
        "distance_from_pre": from_pre,
        "is_nearer_to_base": _is_less(from_base, from_pre),
    }


def _of_loss_after_fork(loss: Floats) -> dict[str, float]:
    """How the train loss goes on from a checkpoint; its first value is that of the checkpoint."""
    at_fork, after = float(loss[0]), loss[1:]
    if not len(after):
        return {"loss_at_fork": at_fork}
    first = after[: max(1, len(after) // EARLY_PART)]
    highest = float(np.max(after))
    return {
        "loss_at_fork": at_fork,
        "early_loss_ratio": _ratio(float(np.min(first)), at_fork),
        "loss_rise": _ratio(highest, at_fork),
        "loss_fall": _ratio(float(after[-1]), highest),
    }


def _at_common_level(
    fork: Trajectory, pre: Trajectory | None, base: Trajectory | None
) -> dict[str, float]:
    if pre is None or base is None:
        return {}
    level = lowest_common_level([fork, pre, base])
    if level is None:
        return {}
    own, of_pre, of_base = (one.log10_gradient(level) for one in (fork, pre, base))
    gap = of_base - of_pre
    return {
        "common_level": level_of(level, LEVELS_PER_DECADE),
        "log10_effective_gradient_norm": own,
        "pre_log10_effective_gradient_norm": of_pre,
        "base_log10_effective_gradient_norm": of_base,
        "share": (own - of_pre) / gap if abs(gap) >= SMALLEST_GAP else NAN,
    }


def _log10_distance(fork: Trajectory, other: Trajectory | None) -> float:
    """Log10 g~ of a fork less that of another run, at the lowest level that both cross."""
    if other is None:
        return NAN
    level = lowest_common_level([fork, other])
    return fork.log10_gradient(level) - other.log10_gradient(level)


def _at_spread_level(one: Trajectory, level: int | None) -> dict[str, float]:
    return {
        "spread_level": NAN if level is None else level_of(level, LEVELS_PER_DECADE),
        "log10_at_spread_level": one.log10_gradient(level),
    }


def _median(values: Floats) -> float:
    """The median; NaN if a value is not finite."""
    return float(np.median(values)) if np.isfinite(values).all() else NAN


def _ratio(number: float, other: float) -> float:
    """A ratio; NaN if one of the two is not finite, or the other is not positive."""
    return number / other if math.isfinite(number) and 0 < other < math.inf else NAN


def _log_ratio(loss: float, other: float) -> float:
    """The absolute logarithm of a ratio; NaN if one of the two is not positive and finite."""
    if not (0 < loss < math.inf and 0 < other < math.inf):
        return NAN
    return abs(math.log(loss) - math.log(other))


def _is_less(number: float, other: float) -> float:
    """1 if a number is less than another, 0 if it is not, NaN if one of them is NaN."""
    return NAN if math.isnan(number) or math.isnan(other) else float(number < other)

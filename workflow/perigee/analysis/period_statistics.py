"""Statistics of the periods of several runs, a row per run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import (
    NEAR_ZERO,
    consistent_from,
    count_loss_spikes,
    find_destabilisations,
    find_periods,
)


def tabulate(runs: Sequence[RunInput], *, near_zero: str) -> pd.DataFrame:
    """Make a row per run; `perigee.analysis.periods` defines destabilisations, stages and spikes.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``stopped`` (whether it diverged), ``epochs`` (trained), ``destabilisations``,
    ``first_destabilisation`` (epoch where the norm is lowest before its first large rise),
    ``warm_up_epochs`` (the same for the first destabilisation of the consistent stage),
    ``period_epochs`` (mean length of the periods of the consistent stage),
    ``destabilisation_norm`` (mean rho at the onsets of that stage), ``loss_spikes`` (NaN where the
    train error identifies phase B), ``lowest_train_loss``, ``late_train_loss`` (median of the last
    half), ``lowest_test_error``, ``late_test_error`` (median of the last tenth). A value is NaN
    where there is nothing to measure.

    Args:
        runs: finished runs.
        near_zero: a key of `perigee.analysis.periods.NEAR_ZERO`, whose column identifies phase B.
    """
    rows = []
    for position, run in enumerate(runs):
        metrics = run.metrics()
        labels = {"run": position, **run.labels(), "stopped": run.stopped}
        rows.append(labels | statistics_of(metrics, near_zero))
    return pd.DataFrame(rows)


def statistics_of(metrics: pd.DataFrame, near_zero: str = "train_loss") -> dict[str, Any]:
    """The statistics of one run, by their columns' names; see `tabulate`.

    Args:
        metrics: columns ``epoch``, ``train_loss``, ``test_error``, ``weight_norm`` and the one that
            identifies phase B, a row per epoch.
        near_zero: see `tabulate`.
    """
    epochs = metrics["epoch"].to_numpy()
    loss, norm, error = (
        metrics[name].to_numpy(dtype=float) for name in ("train_loss", "weight_norm", "test_error")
    )
    found = find_destabilisations(
        metrics[near_zero].to_numpy(dtype=float), norm, NEAR_ZERO[near_zero]
    )
    onsets = np.array([one.norm_onset for one in found], dtype=int)
    warm_up = consistent_from(found, norm)
    lengths = [period.end - period.start for period in find_periods(found[warm_up:])]
    return {
        "epochs": int(epochs[-1]),
        "destabilisations": len(found),
        "first_destabilisation": _first(epochs[onsets]),
        "warm_up_epochs": _first(epochs[onsets[warm_up:]]),
        "period_epochs": _mean(lengths),
        "destabilisation_norm": _mean(norm[onsets[warm_up:]]),
        "loss_spikes": count_loss_spikes(loss) if near_zero == "train_loss" else float("nan"),
        "lowest_train_loss": float(np.min(loss)),
        "late_train_loss": float(np.median(loss[len(loss) // 2 :])),
        "lowest_test_error": float(np.min(error)),
        "late_test_error": float(np.median(error[-max(1, len(error) // 10) :])),
    }


def _first(values: Sequence[float] | np.ndarray) -> float:
    return float(values[0]) if len(values) else float("nan")


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

"""Rules for the epoch of its parent at which a fork starts, resolved on the parent's metrics."""

from __future__ import annotations

import pandas as pd

from perigee.analysis.periods import find_destabilisations
from perigee.errors import PerigeeError


def at_epoch(metrics: pd.DataFrame, *, epoch: int) -> int:
    """Return the given epoch itself.

    Args:
        metrics: the parent's metrics, a row per epoch.
        epoch: the checkpoint's epoch.

    Raises:
        PerigeeError: the parent does not have that epoch.
    """
    last = int(metrics["epoch"].iloc[-1])
    if epoch > last:
        raise PerigeeError(
            f"A run forks at epoch {epoch} of its parent, which ends at epoch {last}; train the "
            "parent for longer or fork earlier."
        )
    return epoch


def before_destabilisation(metrics: pd.DataFrame, *, epochs: int, number: int) -> int:
    """Find the epoch a number of epochs before the weight norm starts to rise in a destabilisation.

    Args:
        metrics: the parent's metrics, a row per epoch.
        epochs: how many epochs before.
        number: the destabilisation's number, from 1; those of the warm-up stage count.

    Raises:
        PerigeeError: the parent has too few destabilisations, or this one comes too early.
    """
    found = find_destabilisations(
        metrics["train_loss"].to_numpy(dtype=float), metrics["weight_norm"].to_numpy(dtype=float)
    )
    onsets = [int(metrics["epoch"].iloc[one.norm_onset]) for one in found]
    course = (
        f"its {len(onsets)} destabilisations begin at epochs {', '.join(map(str, onsets))}"
        if onsets
        else "it has no destabilisation"
    ) + f" of {int(metrics['epoch'].iloc[-1])}"
    if number > len(onsets):
        raise PerigeeError(
            f"A run forks {epochs} epochs before destabilisation {number} of its parent, but "
            f"{course}; train the parent for longer or name another one."
        )
    if onsets[number - 1] < epochs:
        raise PerigeeError(
            f"A run forks {epochs} epochs before destabilisation {number} of its parent, but "
            f"{course}; fork fewer epochs before it or name a later one."
        )
    return onsets[number - 1] - epochs

"""At which epoch of its parent a forked run starts: rules, resolved on the parent's metrics."""

from __future__ import annotations

import pandas as pd

from perigee.analysis.periods import find_destabilisations
from perigee.errors import PerigeeError


def at_epoch(metrics: pd.DataFrame, *, epoch: int) -> int:
    """The epoch itself.

    Args:
        metrics: of the parent, a row an epoch.
        epoch: of the checkpoint.

    Raises:
        PerigeeError: the parent does not have it.
    """
    last = int(metrics["epoch"].iloc[-1])
    if epoch > last:
        raise PerigeeError(
            f"A run forks at epoch {epoch} of its parent, which ends at epoch {last}; train the "
            "parent for longer or fork earlier."
        )
    return epoch


def before_destabilisation(metrics: pd.DataFrame, *, epochs: int, number: int) -> int:
    """Some epochs before the weight norm starts to rise in a destabilisation.

    Args:
        metrics: of the parent, a row an epoch.
        epochs: how many.
        number: of the destabilisation, counted from 1, those of the warm-up stage included.

    Raises:
        PerigeeError: the parent has too few destabilisations, or none so late.
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

"""A rule for the epoch of its parent at which a fork starts, by the norm of the weights."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perigee.analysis.periods import find_destabilisations
from perigee.errors import PerigeeError


def at_norm_before_destabilisation(metrics: pd.DataFrame, *, factor: float, number: int) -> int:
    """Find the last epoch before a destabilisation at which rho is so much above its onset's.

    Between two destabilisations weight decay takes the norm rho down; its onset is where rho is
    lowest. Unlike a number of epochs, a multiple of that norm says how far the effective learning
    rate is from that of the destabilisation.

    Args:
        metrics: the parent's metrics, a row per epoch.
        factor: how many times rho at the onset, at least 1. Where rho is nowhere so high between
            this destabilisation and the one before, the epoch at which it is highest is taken.
        number: the destabilisation's number, from 1, or counted from the last one, which is -1;
            those of the warm-up stage count. Counted from the last one it may be more than there
            are: then it is the first.

    Raises:
        PerigeeError: the parent has too few destabilisations.
    """
    norm = metrics["weight_norm"].to_numpy(dtype=float)
    found = find_destabilisations(metrics["train_loss"].to_numpy(dtype=float), norm)
    if not found or number > len(found):
        onsets = ", ".join(str(int(metrics["epoch"].iloc[one.norm_onset])) for one in found)
        course = f"whose destabilisations begin at epochs {onsets}" if found else "which has none"
        raise PerigeeError(
            f"A run forks before destabilisation {number} of its parent, {course} of "
            f"{int(metrics['epoch'].iloc[-1])}; train the parent for longer or name another one."
        )
    one = found[number - 1 if number > 0 else max(number, -len(found))]
    fall = norm[one.fall_start : one.norm_onset + 1]
    high = np.flatnonzero(fall >= factor * norm[one.norm_onset])
    return int(metrics["epoch"].iloc[one.fall_start + (int(high[-1]) if len(high) else 0)])

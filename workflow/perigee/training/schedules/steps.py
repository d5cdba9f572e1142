"""Step decay."""

from __future__ import annotations

from collections.abc import Sequence


def factor(epoch: int, *, milestones: Sequence[int], decay: float) -> float:
    """``decay`` to the power of how many milestones the epoch has reached (Goyal et al. recipe).

    Args:
        epoch: counted from 0.
        milestones: epochs from which on the learning rate is multiplied once more.
        decay: the factor, greater than 0.
    """
    return float(decay ** sum(epoch >= milestone for milestone in milestones))

"""Cosine decay to zero."""

from __future__ import annotations

import math


def factor(epoch: int, *, horizon: int) -> float:
    """Half a cosine from 1 at epoch 0 to 0 at ``horizon``, then 0 (Kodryan et al. 2022, Section 6).

    Args:
        epoch: counted from 0; the learning rate is constant within an epoch (our choice).
        horizon: epochs until zero, at least 1.
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(epoch / horizon, 1.0)))

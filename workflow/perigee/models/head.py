"""The frozen last layer of fully scale-invariant networks."""

from __future__ import annotations

import torch
from torch import nn


def freeze_head(head: nn.Linear, norm: float) -> None:
    """Freeze a linear layer at its initialisation, its weight matrix rescaled to a given norm.

    The bias, where there is one, keeps its initial value. The norm, 10 in the papers, makes
    confident predictions and so a low train loss possible (Lobacheva et al. 2021, Section 3).

    Args:
        head: changed in place.
        norm: the Frobenius norm that the weight matrix gets, greater than 0.
    """
    with torch.no_grad():
        head.weight.mul_(norm / head.weight.norm())
    head.requires_grad_(False)

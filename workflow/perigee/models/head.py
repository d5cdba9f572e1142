"""The frozen last layer of fully scale-invariant networks."""

from __future__ import annotations

import torch
from torch import nn


def freeze_head(head: nn.Linear, norm: float) -> None:
    """Freeze a linear layer at its initialisation, its weight matrix rescaled to a given norm.

    The bias, where there is one, keeps its initial value. The norm, 10 in the papers, makes
    confident predictions and so a low train loss possible (Lobacheva et al. 2021, Section 3).

    Args:
        head: the layer, changed in place.
        norm: the Frobenius norm that the weight matrix gets, greater than 0.
    """
    with torch.no_grad():
        head.weight.mul_(norm / head.weight.norm())
    head.requires_grad_(False)


def redraw_head(head: nn.Linear, seed: int | None) -> None:
    """Draw a linear layer's weights and bias again, from a seed of their own.

    In this way runs of several seeds can share a frozen head (Kodryan et al. 2022, Section 4).

    Args:
        head: the layer, changed in place.
        seed: the seed of the draw; None leaves the layer as it is.
    """
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head.reset_parameters()

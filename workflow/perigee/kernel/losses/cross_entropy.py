"""Cross-entropy, with or without label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
    """The sum of the images' cross-entropies.

    With smoothing s and C classes, the target gives every class s / C and the label 1 - s more
    (Szegedy et al. 2016, Section 7).

    Args:
        logits: (images, classes).
        labels: int64, (images,).
        label_smoothing: s, in [0, 1).
    """
    return functional.cross_entropy(
        logits, labels, label_smoothing=label_smoothing, reduction="sum"
    )

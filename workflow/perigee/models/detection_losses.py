"""The losses of Mask R-CNN (He et al. 2017) of one image, so that they do not depend on others.

Each is a mean over what was chosen of that image. The usual implementations take means over the
images of one process together, which would change with the number of processes (our choice).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import box_iou

BETA = 1 / 9
"""Where the smooth L1 loss of boxes turns from square to linear, as in torchvision."""


def chosen(
    labels: Tensor, count: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose anchors or proposals at random, by numbers of the given generator alone.

    Args:
        labels: greater than 0 for positive ones, 0 for negative ones, less for others, (n,).
        count: how many are chosen, or fewer if there are not enough.
        share: the largest share of positive ones.
        generator: of random numbers, on the CPU, so that devices agree.

    Returns:
        The places of the positive and of the negative ones.
    """
    positive, negative = torch.where(labels >= 1)[0], torch.where(labels == 0)[0]
    positives = min(len(positive), int(count * share))
    negatives = min(len(negative), count - positives)
    return (
        _some(positive, positives, generator),
        _some(negative, negatives, generator),
    )


def _some(places: Tensor, count: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(places), generator=generator)[:count]
    return places[order.to(places.device)]


def anchor_loss(
    objectness: Tensor,
    deltas: Tensor,
    labels: Tensor,
    expected: Tensor,
    positive: Tensor,
    negative: Tensor,
) -> Tensor:
    """The loss of the region proposal network: of being an object, and of its box.

    Args:
        objectness: logits, (anchors,).
        deltas, expected: of boxes relative to anchors, as found and as right, (anchors, 4).
        labels: 1 for objects, 0 for background, (anchors,).
        positive, negative: the places of the chosen anchors.
    """
    both = torch.cat([positive, negative])
    of_class = functional.binary_cross_entropy_with_logits(
        objectness[both], labels[both].to(objectness.dtype), reduction="sum"
    )
    of_box = functional.smooth_l1_loss(
        deltas[positive], expected[positive], beta=BETA, reduction="sum"
    )
    return (of_class + of_box) / max(1, len(both))


def box_loss(logits: Tensor, deltas: Tensor, labels: Tensor, expected: Tensor) -> Tensor:
    """The loss of the box head: of categories, and of boxes.

    Args:
        logits: (proposals, categories), the first of which is the background.
        deltas: of boxes relative to proposals, for each category, (proposals, categories, 4).
        labels: the right categories, (proposals,).
        expected: the right deltas, (proposals, 4).
    """
    positive = torch.where(labels > 0)[0]
    of_category = functional.cross_entropy(logits, labels, reduction="sum")
    of_box = functional.smooth_l1_loss(
        deltas[positive, labels[positive]], expected[positive], beta=BETA, reduction="sum"
    )
    return (of_category + of_box) / max(1, len(labels))


def mask_loss(
    logits: Tensor, boxes: Tensor, categories: Tensor, objects: Tensor, masks: Tensor
) -> Tensor:
    """The loss of the mask head, the mean over the pixels of its outputs; 0 without proposals.

    Args:
        logits: for each category, (proposals, categories, side, side).
        boxes: of the proposals, (proposals, 4).
        categories, objects: the category and the number of the object of each, (proposals,).
        masks: of the image's objects, (objects, height, width).
    """
    if not len(boxes):
        return logits.sum()
    expected = project_masks_on_boxes(masks, boxes, objects, logits.shape[-1])
    own = logits[torch.arange(len(boxes), device=boxes.device), categories]
    return functional.binary_cross_entropy_with_logits(own, expected)


def share_missed(
    boxes: Tensor, categories: Tensor, own_boxes: Tensor, own_categories: Tensor
) -> Tensor:
    """The share of an image's objects that no predicted box of their category meets.

    A box meets an object if their intersection over union is at least one half. Without objects
    it is 0.

    Args:
        boxes, categories: predicted, (boxes, 4) and (boxes,).
        own_boxes, own_categories: those of the objects, (objects, 4) and (objects,).
    """
    if not len(own_boxes):
        return own_boxes.new_zeros(())
    meets = (box_iou(own_boxes, boxes) >= 0.5) & (own_categories[:, None] == categories[None])
    share: Tensor = 1 - meets.any(dim=1).to(own_boxes.dtype).mean()
    return share

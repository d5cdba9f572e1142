"""Mask R-CNN (He et al. 2017) on a feature pyramid, trained from scratch with BatchNorm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import (
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from perigee.models.declaration import ScaleInvariantWeights
from perigee.models.detection_inputs import DetectionInputs
from perigee.models.detection_losses import anchor_loss, box_loss, chosen, mask_loss, share_missed
from perigee.models.post_activation_resnet import PostActivationResNet

LEVELS = 5
RATIOS = (0.5, 1.0, 2.0)
"""The levels of the pyramid, each with anchors of one size and these heights over widths."""

POOLED, POOLED_FOR_MASKS = 7, 14
"""The sides of what is pooled of a proposal for the box head and for the mask head."""

CONVOLUTIONS = 4
"""The convolutions of each of these heads (Wu and He 2018, "Group Normalization", Section 4.2)."""

ANCHORS, POSITIVE_ANCHORS = 256, 0.5
"""How many anchors of an image make its loss, and the largest share of objects among them."""

POSITIVE_PROPOSALS = 0.25
"""The largest share of objects among an image's proposals."""

KEPT = {"training": 2000, "testing": 1000}
"""How many proposals of an image go on, before and after those that overlap are removed."""


class MaskRCNN(PostActivationResNet):
    """Mask R-CNN whose losses are those of each image.

    The body is the network itself, so that its layers have the names of the paper's figures, such
    as ``layer1.0.conv2``. BatchNorm follows every convolution of body and feature pyramid and
    the four of the box head and of the mask head, as in He et al. 2019 ("Rethinking ImageNet
    Pre-training", Section 3); these are scale-invariant filter by filter. The region proposal
    network and the last layers have none. Anchors, thresholds and numbers of proposals are those
    of torchvision.

    Args:
        image_shape: (channels, height, width); only the channels matter.
        classes: categories of objects, without the background.
        blocks, width, pyramid_width, head_width, smallest_anchor, proposals: see
            `perigee.blocks.models.MaskRCNN`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        blocks: Sequence[int],
        width: int,
        pyramid_width: int,
        head_width: int,
        smallest_anchor: int,
        proposals: int,
    ) -> None:
        super().__init__(image_shape, classes, "bottleneck", blocks, width, "large")
        del self.avgpool, self.fc
        self.proposals, self.outputs = proposals, classes + 1
        widths = [4 * width * 2**stage for stage in range(4)]
        self.pyramid = FeaturePyramidNetwork(
            widths, pyramid_width, LastLevelMaxPool(), norm_layer=nn.BatchNorm2d
        )
        sizes = tuple((smallest_anchor * 2**level,) for level in range(LEVELS))
        self.rpn = RegionProposalNetwork(
            AnchorGenerator(sizes, (RATIOS,) * LEVELS),
            RPNHead(pyramid_width, len(RATIOS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=ANCHORS,
            positive_fraction=POSITIVE_ANCHORS,
            pre_nms_top_n=KEPT,
            post_nms_top_n=KEPT,
            nms_thresh=0.7,
        )
        convolutions = [pyramid_width] * CONVOLUTIONS
        self.heads = RoIHeads(
            _pool(POOLED, smallest_anchor),
            FastRCNNConvFCHead(
                (pyramid_width, POOLED, POOLED),
                convolutions,
                [head_width],
                norm_layer=nn.BatchNorm2d,
            ),
            FastRCNNPredictor(head_width, self.outputs),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=proposals,
            positive_fraction=POSITIVE_PROPOSALS,
            bbox_reg_weights=None,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=_pool(POOLED_FOR_MASKS, smallest_anchor),
            mask_head=MaskRCNNHeads(pyramid_width, convolutions, 1, norm_layer=nn.BatchNorm2d),
            mask_predictor=MaskRCNNPredictor(pyramid_width, pyramid_width, self.outputs),
        )
        # Where BatchNorm follows, a convolution has no bias, and elsewhere it has one.
        names = tuple(
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d) and module.bias is None
        )
        self.scale_invariant_weights = ScaleInvariantWeights(names, names)

    def forward(self, inputs: Tensor | DetectionInputs) -> Tensor:
        """Return the loss of each image, and the share of its objects that are missed.

        The loss is the sum of those of anchors, boxes and masks. Objects are sought among the
        boxes that the box head makes of the proposals that are in the loss, without those that
        are the objects' own boxes. In eval mode it is the same with running statistics.

        Args:
            inputs: images with objects; of images alone see `DetectionInputs.of_images`.

        Returns:
            (images, 2): loss, share missed.
        """
        given = inputs if isinstance(inputs, DetectionInputs) else DetectionInputs.of_images(inputs)
        features = self._features(given.images)
        generators = [torch.Generator().manual_seed(seed) for seed in given.seeds]
        proposals, losses = self._propose(given, features, generators)
        boxes = [torch.cat(pair) for pair in zip(proposals, given.boxes, strict=True)]
        objects, labels = self.heads.assign_targets_to_proposals(
            boxes, given.boxes, given.categories
        )
        # Of few processes one may have no image, but BatchNorm needs all of them.
        taken = [
            torch.cat(chosen(one, self.proposals, POSITIVE_PROPOSALS, generator))
            for one, generator in zip(labels, generators, strict=True)
        ]
        boxes, objects, labels = (
            [values[places] for values, places in zip(each, taken, strict=True)]
            for each in (boxes, objects, labels)
        )
        canvas = [tuple(given.images.shape[2:])] * max(1, len(given))
        logits, deltas = self._boxes(features, boxes, canvas)
        positive = [torch.where(one > 0)[0] for one in labels]
        of_objects = [one[places] for one, places in zip(boxes, positive, strict=True)]
        masks = self._masks(features, of_objects, canvas)
        if not len(given):
            return (logits.sum() + deltas.sum() + masks.sum()) * logits.new_zeros((0, 2))
        counts, mask_counts = ([len(one) for one in each] for each in (boxes, positive))
        rows = []
        for number, (own_logits, own_deltas, own_masks) in enumerate(
            zip(logits.split(counts), deltas.split(counts), masks.split(mask_counts), strict=True)
        ):
            own_boxes, own_labels = boxes[number], labels[number]
            places, own_objects = positive[number], objects[number]
            true_boxes = _taken(given.boxes[number], own_objects)
            (expected,) = self.heads.box_coder.encode([true_boxes], [own_boxes])
            loss = (
                losses[number]
                + box_loss(own_logits, own_deltas, own_labels, expected)
                + mask_loss(
                    own_masks,
                    own_boxes[places],
                    own_labels[places],
                    own_objects[places],
                    given.masks[number],
                )
            )
            is_proposed = taken[number] < len(proposals[number])
            missed = self._missed(given, number, own_boxes, own_logits, own_deltas, is_proposed)
            rows.append(torch.stack([loss, missed]))
        return torch.stack(rows)

    def _features(self, images: Tensor) -> dict[str, Tensor]:
        """The levels of the feature pyramid, the finest first."""
        found = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        stages = OrderedDict()
        for number, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            found = stage(found)
            stages[str(number)] = found
        levels: dict[str, Tensor] = self.pyramid(stages)
        return levels

    def _propose(
        self,
        given: DetectionInputs,
        features: dict[str, Tensor],
        generators: Sequence[torch.Generator],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The boxes that may hold objects, and the loss of the anchors, for each image."""
        if not len(given):
            return [], []
        levels = list(features.values())
        by_level, deltas_by_level = self.rpn.head(levels)
        anchors = self.rpn.anchor_generator(ImageList(given.images, list(given.sizes)), levels)
        counts = [one[0].numel() for one in by_level]
        objectness, deltas = concat_box_prediction_layers(by_level, deltas_by_level)
        images = len(given)
        decoded = self.rpn.box_coder.decode(deltas.detach(), anchors).view(images, -1, 4)
        proposals, _ = self.rpn.filter_proposals(
            decoded, objectness.detach(), list(given.sizes), counts
        )
        labels, matched = self.rpn.assign_targets_to_anchors(
            anchors, [{"boxes": boxes} for boxes in given.boxes]
        )
        right = [one.to(given.images.dtype) for one in matched]
        expected = self.rpn.box_coder.encode(right, anchors)
        losses = []
        for each in zip(
            objectness.view(images, -1),
            deltas.view(images, -1, 4),
            labels,
            expected,
            generators,
            strict=True,
        ):
            own_objectness, own_deltas, own_labels, own_expected, generator = each
            places = chosen(own_labels, ANCHORS, POSITIVE_ANCHORS, generator)
            losses.append(
                anchor_loss(own_objectness, own_deltas, own_labels, own_expected, *places)
            )
        return proposals, losses

    def _boxes(
        self,
        features: dict[str, Tensor],
        boxes: Sequence[Tensor],
        canvas: Sequence[tuple[int, ...]],
    ) -> tuple[Tensor, Tensor]:
        """Categories (proposals, categories) and deltas (proposals, categories, 4) of boxes."""
        pooled = self.heads.box_roi_pool(features, _or_none(boxes, features), canvas)
        logits, deltas = self.heads.box_predictor(self.heads.box_head(pooled))
        return logits, deltas.view(len(deltas), self.outputs, 4)

    def _masks(
        self,
        features: dict[str, Tensor],
        boxes: Sequence[Tensor],
        canvas: Sequence[tuple[int, ...]],
    ) -> Tensor:
        """Logits of the masks within boxes, for each category: (boxes, categories, 28, 28)."""
        pooled = self.heads.mask_roi_pool(features, _or_none(boxes, features), canvas)
        logits: Tensor = self.heads.mask_predictor(self.heads.mask_head(pooled))
        return logits

    @torch.no_grad()
    def _missed(
        self,
        given: DetectionInputs,
        number: int,
        boxes: Tensor,
        logits: Tensor,
        deltas: Tensor,
        is_proposed: Tensor,
    ) -> Tensor:
        """The share of an image's objects that are missed."""
        categories = logits.argmax(dim=1)
        own = deltas[torch.arange(len(boxes), device=boxes.device), categories]
        found = self.heads.box_coder.decode(own, [boxes]).view(-1, 4)
        return share_missed(
            found[is_proposed],
            categories[is_proposed],
            given.boxes[number],
            given.categories[number],
        )


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
    *,
    blocks: Sequence[int],
    width: int,
    pyramid_width: int,
    head_width: int,
    smallest_anchor: int,
    proposals: int,
) -> nn.Module:
    """Build a network on the CPU at torchvision's initialisation, from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskRCNN(
            image_shape,
            classes,
            blocks,
            width,
            pyramid_width,
            head_width,
            smallest_anchor,
            proposals,
        )


def _pool(side: int, smallest_anchor: int) -> MultiScaleRoIAlign:
    """The pooling of proposals from that level of the pyramid whose anchors are of their size.

    With the usual anchors, from 32 pixels, it is that of Lin et al. 2017, eq. (1).
    """
    return MultiScaleRoIAlign(
        ["0", "1", "2", "3"],
        output_size=side,
        sampling_ratio=2,
        canonical_scale=7 * smallest_anchor,
        canonical_level=4,
    )


def _or_none(boxes: Sequence[Tensor], features: dict[str, Tensor]) -> list[Tensor]:
    """Boxes by image; where there is no image, an image's worth of none."""
    return list(boxes) or [features["0"].new_zeros((0, 4))]


def _taken(boxes: Tensor, objects: Tensor) -> Tensor:
    """The box of the object that each proposal has; zeros where the image has no objects."""
    return boxes[objects] if len(boxes) else boxes.new_zeros((len(objects), 4))

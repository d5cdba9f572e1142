"""perigee.models.mask_rcnn: declaration, losses beside torchvision's, random choices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection.roi_heads import fastrcnn_loss, maskrcnn_loss
from torchvision.ops import nms

from perigee.models.declaration import declared_weights
from perigee.models.detection_inputs import DetectionInputs
from perigee.models.detection_losses import anchor_loss, box_loss, chosen, mask_loss, share_missed
from perigee.models.mask_rcnn import MaskRCNN, build
from perigee.models.proof import prove_declaration
from support.annotated_images import NARROW
from support.invariance import Problem, assert_invariant, assert_none_is_missed

SHAPE = (3, 64, 64)


def narrow(seed: int = 0, **changed: Any) -> nn.Module:
    parameters: dict[str, Any] = {k: v for k, v in NARROW.items() if k != "name"}
    return build(SHAPE, 3, seed, **{**parameters, **changed})


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(count: int = 3) -> DetectionInputs:
    """Images with two objects each."""
    images = torch.randn((count, *SHAPE), generator=draws(), dtype=torch.float64)
    boxes = torch.tensor([[4.0, 6, 24, 30], [30, 20, 60, 44]], dtype=torch.float64)
    masks = torch.zeros((2, 64, 64), dtype=torch.uint8)
    masks[0, 6:30, 4:24] = masks[1, 20:44, 30:60] = 1
    return DetectionInputs(
        images,
        [(64, 64)] * count,
        [boxes + shift for shift in range(count)],
        [torch.tensor([1 + n % 3, 3]) for n in range(count)],
        [masks] * count,
        range(10, 10 + count),
    )


# The network


def test_the_body_is_torchvisions_resnet_50() -> None:
    with torch.device("meta"):
        ours = MaskRCNN(SHAPE, 80, (3, 4, 6, 3), 64, 256, 1024, 32, 512)
        body = {n: p.shape for n, p in resnet50().named_parameters() if not n.startswith("fc.")}
    found = {name: parameter.shape for name, parameter in ours.named_parameters()}
    assert body.items() <= found.items()
    # 53 convolutions of the body, 8 of the pyramid, 4 of each head.
    assert len(ours.scale_invariant_weights.names) == 53 + 8 + 4 + 4
    assert found["heads.box_predictor.cls_score.weight"] == (81, 1024)
    assert found["heads.box_head.5.weight"] == (1024, 256 * 7 * 7)


def test_exactly_the_convolutions_before_batch_norm_are_scale_invariant() -> None:
    network = narrow()
    declared = declared_weights(network)
    assert declared.by_filter == declared.names
    assert declared.names[0] == "conv1.weight"
    assert {"layer1.0.conv2.weight", "pyramid.inner_blocks.3.0.weight"} <= set(declared.names)
    assert not [name for name in declared.names if name.startswith("rpn.") or "predictor" in name]
    prove_declaration(network, SHAPE)
    generator = draws(1)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # biases are 0 at first, which no factor changes
            nn.init.uniform_(parameter, 0.1, 0.5, generator=generator)
    problem = Problem(network, SHAPE, 0)
    assert_invariant(problem, declared.names, 0.03)
    assert_none_is_missed(problem, declared.names)


def test_a_seed_gives_one_network_and_leaves_the_global_state() -> None:
    before = torch.random.get_rng_state()
    first, same, other = narrow(seed=3), narrow(seed=3), narrow(seed=4)
    first(torch.zeros((2, *SHAPE)))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, value in first.named_parameters():
        assert torch.equal(value, same.get_parameter(name))
    name = "heads.mask_head.0.0.weight"
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_an_image_has_the_same_loss_whatever_is_beside_it() -> None:
    network, given = narrow().double().eval(), scene()
    together = network(given)
    assert together.shape == (3, 2)
    for n in range(3):
        alone = DetectionInputs(
            given.images[n : n + 1],
            given.sizes[n : n + 1],
            given.boxes[n : n + 1],
            given.categories[n : n + 1],
            given.masks[n : n + 1],
            given.seeds[n : n + 1],
        )
        torch.testing.assert_close(network(alone), together[n : n + 1], rtol=1e-9, atol=1e-12)


def test_random_choices_are_those_of_the_seeds() -> None:
    network, given = narrow(proposals=4).double().train(), scene()
    first = network(given)
    torch.randn(5)  # the global state has no part
    assert torch.equal(network(given), first)
    others = DetectionInputs(**{**vars(given), "seeds": [1, 2, 3]})
    assert not torch.equal(network(others), first)


@pytest.mark.parametrize("training", [True, False])
def test_images_without_objects_have_a_loss_and_miss_none(training: bool) -> None:
    given = scene(2)
    none = given.boxes[0][:0], given.categories[0][:0], given.masks[0][:0]
    partly = DetectionInputs(
        given.images,
        given.sizes,
        *([one[0], left_out] for one, left_out in zip(
            (given.boxes, given.categories, given.masks), none, strict=True
        )),
        given.seeds,
    )  # fmt: skip
    outputs = narrow().double().train(training)(partly)
    assert outputs.isfinite().all()
    assert outputs[1, 0] > 0
    assert outputs[1, 1] == 0


def test_no_image_at_all_gives_no_loss_but_gradients() -> None:
    network, given = narrow().double().eval(), scene(2)
    empty = DetectionInputs(given.images[:0], [], [], [], [], [])
    outputs = network(empty)
    assert outputs.shape == (0, 2)
    outputs[:, 0].sum().backward()
    weight = network.get_parameter("layer1.0.conv2.weight")
    assert weight.grad is not None
    assert not weight.grad.any()


def test_it_learns_where_objects_are() -> None:
    wider = {"width": 8, "pyramid_width": 16, "head_width": 32, "smallest_anchor": 8}
    network, given = narrow(**wider, proposals=32).double().train(), scene(2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    first = network(given).detach()
    for _ in range(30):
        optimiser.zero_grad()
        network(given)[:, 0].mean().backward()
        optimiser.step()
    last = network(given).detach()
    assert last[:, 0].mean() < 0.5 * first[:, 0].mean()
    assert first[:, 1].mean() > 0.5
    assert last[:, 1].mean() < 0.5


# The losses of one image are torchvision's


def of_proposals(count: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = draws(2)
    logits = torch.randn((count, 4), generator=generator)
    deltas = torch.randn((count, 4, 4), generator=generator)
    labels = torch.randint(4, (count,), generator=generator)
    return logits, deltas, labels, torch.randn((count, 4), generator=generator)


def test_the_loss_of_boxes_is_torchvisions() -> None:
    logits, deltas, labels, expected = of_proposals()
    theirs = fastrcnn_loss(logits, deltas.flatten(1), [labels], [expected])
    torch.testing.assert_close(box_loss(logits, deltas, labels, expected), sum(theirs))


def test_the_loss_of_anchors_is_torchvisions() -> None:
    logits, deltas, labels, expected = of_proposals()
    right = (labels > 1).float()
    network = narrow()
    assert isinstance(network, MaskRCNN)
    network.rpn.fg_bg_sampler = lambda labels: ([labels[0] == 1], [labels[0] == 0])
    theirs = network.rpn.compute_loss(logits[:, 0], deltas[:, 0], [right], [expected])
    places = [torch.where(right == value)[0] for value in (1, 0)]
    ours = anchor_loss(logits[:, 0], deltas[:, 0], right, expected, places[0], places[1])
    torch.testing.assert_close(ours, sum(theirs))


def test_the_loss_of_masks_is_torchvisions() -> None:
    given = scene()
    logits = torch.randn((3, 4, 28, 28), generator=draws(), dtype=torch.float64)
    boxes, objects = given.boxes[0][[0, 1, 1]] + 1, torch.tensor([0, 1, 1])
    labels = given.categories[0]
    theirs = maskrcnn_loss(logits, [boxes], [given.masks[0]], [labels], [objects])
    ours = mask_loss(logits, boxes, labels[objects], objects, given.masks[0])
    torch.testing.assert_close(ours, theirs)


def test_positive_ones_are_chosen_up_to_their_share() -> None:
    labels = torch.tensor([1.0] * 10 + [0.0] * 30 + [-1.0] * 5)
    positive, negative = chosen(labels, 12, 0.5, draws())
    assert (len(positive), len(negative)) == (6, 6)
    assert len({*positive.tolist()}) == 6
    assert positive.max() < 10
    assert 10 <= negative.min() <= negative.max() < 40
    positive, negative = chosen(labels[8:], 100, 0.5, draws())
    assert (len(positive), len(negative)) == (2, 30)
    again = chosen(labels, 12, 0.5, draws())[0]
    assert torch.equal(again, chosen(labels, 12, 0.5, draws())[0])
    assert not torch.equal(again.sort().values, chosen(labels, 12, 0.5, draws(5))[0].sort().values)


def test_an_object_is_found_by_a_box_of_its_category_that_covers_half() -> None:
    own, categories = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]]), torch.tensor([1, 2])
    near, far = [0.0, 0, 10, 5], [0.0, 0, 10, 4.9]
    for boxes, found, expected in (
        ([near], [1], 0.5),
        ([far], [1], 1.0),
        ([near], [2], 1.0),
        ([near, [20.0, 0, 30, 10]], [1, 2], 0.0),
        ([near, near], [2, 1], 0.5),
    ):
        missed = share_missed(torch.tensor(boxes), torch.tensor(found), own, categories)
        assert missed == expected
    none = torch.zeros((0, 4)), torch.zeros(0, dtype=torch.int64)
    assert share_missed(*none, own, categories) == 1
    assert share_missed(own, categories, *none) == 0


def test_few_proposals_overlap() -> None:
    network, given = narrow().double().eval(), scene()
    assert isinstance(network, MaskRCNN)
    generators = [draws(n) for n in range(3)]
    proposals, losses = network._propose(given, network._features(given.images), generators)
    assert len(proposals) == len(losses) == 3
    for boxes in proposals:
        assert 10 < len(boxes) <= 1000
        assert boxes.min() >= 0
        assert boxes.max() <= 64
    with torch.no_grad():
        scores = torch.arange(len(proposals[0]), 0, -1, dtype=torch.float64)
        assert len(nms(proposals[0], scores, 0.7)) > 0.3 * len(scores)

"""perigee.data.digit_pairs against the digits it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perigee.data import digit_pairs, digits
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError
from perigee.models.convnet import ConvNet

UNUSED = Path("/nonexistent")


def with_test_pairs(per_class: int) -> ArrayDataset:
    return digit_pairs.build(UNUSED, download=False, test_pairs_per_class=per_class)


@pytest.fixture(scope="module", params=[5, 25])
def built(request: pytest.FixtureRequest) -> ArrayDataset:
    return with_test_pairs(request.param)


@pytest.fixture(scope="module")
def single() -> ArrayDataset:
    return digits.build(UNUSED, download=False, train_images=1437)


@pytest.mark.parametrize("per_class", [5, 25])
def test_sizes_and_types(per_class: int) -> None:
    built = with_test_pairs(per_class)
    assert built.splits["train"].images.shape == (2000, 1, 8, 16)
    assert built.splits["test"].images.shape == (100 * per_class, 1, 8, 16)
    arrays = (
        built.splits["train"].images,
        built.splits["train"].labels,
        built.splits["test"].images,
        built.splits["test"].labels,
    )
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}
    assert built.classes == 100
    assert built.image_shape == (1, 8, 16)


def test_every_class_has_equally_many_pairs(built: ArrayDataset) -> None:
    assert np.bincount(built.splits["train"].labels).tolist() == [20] * 100
    per_class = len(built.splits["test"]) // 100
    assert np.bincount(built.splits["test"].labels).tolist() == [per_class] * 100


def test_training_is_the_same_however_many_test_pairs_there_are() -> None:
    few, many = with_test_pairs(5), with_test_pairs(25)
    for part in ("images", "labels"):
        one, other = (getattr(built.splits["train"], part) for built in (few, many))
        assert one.tobytes() == other.tobytes()
    assert (few.channel_means, few.channel_stds) == (many.channel_means, many.channel_stds)


@pytest.mark.parametrize("part", ["train", "test"])
def test_both_halves_are_digits_of_the_same_part_and_of_the_class(
    built: ArrayDataset, single: ArrayDataset, part: str
) -> None:
    # No two digits are equal (test_digits), so an image tells its label and its part.
    labels = {
        image.tobytes(): label
        for image, label in zip(
            single.splits[part].images,
            single.splits[part].labels.tolist(),
            strict=True,
        )
    }
    pairs = built.splits[part].images
    for pair, label in zip(pairs, built.splits[part].labels.tolist(), strict=True):
        left, right = pair[..., :8].tobytes(), pair[..., 8:].tobytes()
        assert 10 * labels[left] + labels[right] == label


@pytest.mark.parametrize("part", ["train", "test"])
def test_no_pair_occurs_twice(built: ArrayDataset, part: str) -> None:
    images = built.splits[part].images
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("per_class", digit_pairs.SHA256)
def test_another_draw_is_refused(per_class: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would be another data set under the same digest.
    monkeypatch.setattr(digit_pairs, "PAIRS_SEED", 1)
    with pytest.raises(PerigeeError, match=r"'digit_pairs'.*wrong checksum.*install"):
        with_test_pairs(per_class)


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_mini_batch_in_stored_order_mixes_the_classes(built: ArrayDataset, part: str) -> None:
    labels = built.splits[part].labels
    for start in range(0, len(labels) - 127, 128):
        # 128 draws from 100 classes miss (1 - 1/100)^128 = 28 % of them on average.
        assert len(set(labels[start : start + 128].tolist())) > 55


def test_the_pairs_are_fixed(built: ArrayDataset) -> None:
    np.random.seed(1)
    again = with_test_pairs(len(built.splits["test"]) // 100)
    assert np.array_equal(again.splits["train"].images, built.splits["train"].images)
    assert np.array_equal(again.splits["test"].labels, built.splits["test"].labels)


def test_mean_and_deviation_are_those_of_the_training_pixels(built: ArrayDataset) -> None:
    pixels = built.splits["train"].images.astype(np.float64).ravel()
    mean = pixels.sum() / pixels.size
    assert built.channel_means == pytest.approx((mean,), rel=1e-12)
    variance = ((pixels - mean) ** 2).sum() / pixels.size
    assert built.channel_stds == pytest.approx((variance**0.5,), rel=1e-12)


def test_a_network_takes_images_that_are_not_square(built: ArrayDataset) -> None:
    network = ConvNet(
        built.image_shape,
        built.classes,
        width=2,
        scale_invariant=True,
        head_norm=10,
        head_seed=None,
    )
    images = torch.from_numpy(built.splits["train"].images[:4]).float()
    assert network(images).shape == (4, 100)

"""perigee.data.augmentations: every image is one of its crops, each drawn anew."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perigee.data.device import DeviceDataset
from torch import Tensor

from perigee.data.arrays import ArrayDataset
from perigee.data.augmentations import crop_and_flip, none

Found = tuple[int, int, bool]


def dataset(images: int, shape: tuple[int, int, int], seed: int = 0) -> ArrayDataset:
    """Noise, in which no two crops of an image are equal; channels with values of their own."""
    generator = np.random.default_rng(seed)
    channels = shape[0]
    pixels = generator.integers(1, 256, (images, *shape), dtype=np.uint8)
    labels = np.zeros(images, np.uint8)
    means, stds = (tuple(generator.uniform(40, 120, channels)) for _ in range(2))
    return ArrayDataset(pixels, labels, pixels[:1], labels[:1], 2, means, stds, "noise")


def loaded(
    data: ArrayDataset, layout: torch.memory_format = torch.contiguous_format
) -> DeviceDataset:
    return DeviceDataset.load(data, torch.device("cpu"), torch.float64, layout)


def augmented(
    data: DeviceDataset, padding: int, flip: bool, seed: int = 0, epoch: int = 0, size: int = 10**6
) -> Tensor:
    """The whole epoch in stored order, mini-batch by mini-batch."""
    images = data.train.images
    augment = crop_and_flip.of_epoch(
        len(images), seed, epoch, data.black, padding=padding, flip=flip
    )
    batches = images.split(size)
    return torch.cat([augment(batch, number * size) for number, batch in enumerate(batches)])


def found_by_search(data: ArrayDataset, number: int, image: np.ndarray, padding: int) -> Found:
    """Which crop of an image this is, mirrored or not; there must be exactly one that fits."""
    original = data.train_images[number].astype(np.float64)
    _, height, width = original.shape
    padded = np.pad(original, ((0, 0), (padding, padding), (padding, padding)))
    shape = (-1, 1, 1)
    means, stds = np.reshape(data.channel_means, shape), np.reshape(data.channel_stds, shape)
    fitting = []
    offsets = range(2 * padding + 1)
    for top, left, mirrored in product(offsets, offsets, (False, True)):
        crop = (padded[:, top : top + height, left : left + width] - means) / stds
        if np.allclose(crop[:, :, ::-1] if mirrored else crop, image, rtol=1e-12, atol=1e-12):
            fitting.append((top, left, mirrored))
    (one,) = fitting
    return one


def all_found(data: ArrayDataset, images: Tensor, padding: int) -> list[Found]:
    return [found_by_search(data, n, image, padding) for n, image in enumerate(images.numpy())]


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9)),
    padding=st.integers(0, 3),
    flip=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2000),
)
def test_every_image_is_a_crop_of_itself_in_black_before_normalisation(
    shape: tuple[int, int, int], padding: int, flip: bool, seed: int, epoch: int
) -> None:
    data = dataset(6, shape)
    images = augmented(loaded(data), padding, flip, seed, epoch)
    assert images.shape == (6, *shape)
    found = all_found(data, images, padding)
    assert flip or not any(mirrored for _, _, mirrored in found)


def test_each_image_has_offsets_of_its_own_and_all_occur_equally_often() -> None:
    images, padding = 1800, 1
    data = dataset(images, (1, 5, 6))
    found = all_found(data, augmented(loaded(data), padding, True), padding)
    counts = {kind: found.count(kind) for kind in product(range(3), range(3), (False, True))}
    assert sum(counts.values()) == images
    # 18 kinds, 100 expected of each; a binomial count is this far off once in 10^7.
    assert all(48 < count < 152 for count in counts.values())
    flips = np.array([mirrored for _, _, mirrored in found])
    assert abs(flips.mean() - 0.5) < 0.06
    # Neighbours have nothing to do with each other.
    tops, lefts = (np.array([kind[n] for kind in found]) for n in (0, 1))
    for one, other in (
        (tops, lefts),
        (tops[1:], tops[:-1]),
        (tops, flips),
        (flips[1:], flips[:-1]),
    ):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.13


@settings(max_examples=25)
@given(size=st.integers(1, 25), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 2000))
def test_only_seed_epoch_and_position_count(size: int, seed: int, epoch: int) -> None:
    data = loaded(dataset(20, (2, 5, 5)))
    whole = augmented(data, 2, True, seed, epoch)
    np.random.seed(0)
    torch.manual_seed(0)
    assert torch.equal(augmented(data, 2, True, seed, epoch, size), whole)
    augment = crop_and_flip.of_epoch(20, seed, epoch, data.black, padding=2, flip=True)
    assert torch.equal(augment(data.train.images[13:17], 13), whole[13:17])
    assert not torch.equal(augmented(data, 2, True, seed, epoch + 1), whole)
    assert not torch.equal(augmented(data, 2, True, (seed + 1) % 2**32, epoch), whole)


def test_the_numbers_are_not_those_of_the_order_of_the_data() -> None:
    data = dataset(40, (1, 6, 6))
    found = all_found(data, augmented(loaded(data), 3, True, 5, 8), 3)
    same_stream = np.random.default_rng((5, 8)).integers(0, 6, (2, 40), endpoint=True)
    for place in range(2):
        agree = np.mean(same_stream[place] == [kind[place] for kind in found])
        assert agree < 0.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_stays(channels: int, layout: torch.memory_format) -> None:
    data = loaded(dataset(8, (channels, 6, 5)), layout)
    batch = data.train.images[torch.tensor([3, 1, 2])]
    augment = crop_and_flip.of_epoch(8, 0, 0, data.black, padding=2, flip=True)
    assert augment(batch, 0).stride() == batch.stride()


def test_without_augmentation_images_are_left_alone() -> None:
    data = loaded(dataset(4, (1, 5, 5)))
    batch = data.train.images[1:3]
    assert none.of_epoch(4, 0, 0, data.black)(batch, 1) is batch

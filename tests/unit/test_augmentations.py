"""perigee.data.augmentations: every image is one of its crops, each drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.augmentations.crop_and_flip import CropAndFlip
from perigee.data.augmentations.none import NoAugmentation

Found = tuple[int, int, bool]


def dataset(images: int, shape: tuple[int, int, int], seed: int = 0) -> ArrayDataset:
    """Noise, in which no two crops of an image are equal; channels with values of their own."""
    generator = np.random.default_rng(seed)
    channels = shape[0]
    pixels = generator.integers(1, 256, (images, *shape), dtype=np.uint8)
    split = ArraySplit(pixels, np.arange(images) % 256)
    means, stds = (tuple(generator.uniform(40, 120, channels)) for _ in range(2))
    return ArrayDataset({"train": split, "test": split}, 2, means, stds, "noise")


def normalised(data: ArrayDataset, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    shape = (1, -1, 1, 1)
    means, stds = torch.tensor(data.channel_means), torch.tensor(data.channel_stds)
    pixels = torch.from_numpy(data.splits["train"].images).double()
    images = (pixels - means.double().view(shape)) / stds.double().view(shape)
    return torch.empty(images.shape, dtype=torch.float64, memory_format=layout).copy_(images)


def augmentation(data: ArrayDataset, padding: int, flip: bool, seed: int = 0) -> CropAndFlip:
    black = -np.array(data.channel_means) / np.array(data.channel_stds)
    return CropAndFlip(
        len(data.splits["train"]),
        seed,
        torch.from_numpy(black).view(1, -1, 1, 1),
        padding=padding,
        flip=flip,
    )


def augmented(
    data: ArrayDataset,
    padding: int,
    flip: bool,
    seed: int = 0,
    epoch: int = 0,
    batches: Sequence[np.ndarray] | None = None,
) -> Tensor:
    """All images in stored order, as an epoch sees them in mini-batches in any order."""
    images = normalised(data)
    augment = augmentation(data, padding, flip, seed)
    augment.begin_epoch(epoch)
    found = torch.empty_like(images)
    for numbers in batches or [np.arange(len(images))]:
        found[numbers] = augment(images[numbers], numbers)
    return found


def found_by_search(data: ArrayDataset, number: int, image: np.ndarray, padding: int) -> Found:
    """Identify a crop of an image, mirrored or not; exactly one must fit."""
    original = data.splits["train"].images[number].astype(np.float64)
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
    images = augmented(data, padding, flip, seed, epoch)
    assert images.shape == (6, *shape)
    found = all_found(data, images, padding)
    assert flip or not any(mirrored for _, _, mirrored in found)


def test_each_image_has_offsets_of_its_own_and_all_occur_equally_often() -> None:
    images, padding = 1800, 1
    data = dataset(images, (1, 5, 6))
    found = all_found(data, augmented(data, padding, True), padding)
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
@given(
    size=st.integers(1, 25),
    order=st.permutations(range(20)),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2000),
)
def test_only_seed_epoch_and_image_count(
    size: int, order: list[int], seed: int, epoch: int
) -> None:
    """Not how the images are ordered, or cut into mini-batches, or shared out among processes."""
    data = dataset(20, (2, 5, 5))
    whole = augmented(data, 2, True, seed, epoch)
    np.random.seed(0)
    torch.manual_seed(0)
    batches = [np.array(order[start : start + size]) for start in range(0, 20, size)]
    assert torch.equal(augmented(data, 2, True, seed, epoch, batches), whole)
    assert not torch.equal(augmented(data, 2, True, seed, epoch + 1), whole)
    assert not torch.equal(augmented(data, 2, True, (seed + 1) % 2**32, epoch), whole)


def test_an_epoch_may_come_after_any_other() -> None:
    data = dataset(20, (2, 5, 5))
    augment, numbers = augmentation(data, 2, True), np.arange(20)
    for epoch in (4, 2):
        augment.begin_epoch(epoch)
        assert torch.equal(
            augment(normalised(data), numbers), augmented(data, 2, True, epoch=epoch)
        )


def test_the_numbers_are_not_those_of_the_order_of_the_data() -> None:
    data = dataset(40, (1, 6, 6))
    found = all_found(data, augmented(data, 3, True, 5, 8), 3)
    same_stream = np.random.default_rng((5, 8)).integers(0, 6, (2, 40), endpoint=True)
    for place in range(2):
        agree = np.mean(same_stream[place] == [kind[place] for kind in found])
        assert agree < 0.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_stays(channels: int, layout: torch.memory_format) -> None:
    data = dataset(8, (channels, 6, 5))
    numbers = np.array([3, 1, 2])
    batch = normalised(data, layout)[torch.from_numpy(numbers)]
    augment = augmentation(data, 2, True)
    augment.begin_epoch(0)
    assert augment(batch, numbers).stride() == batch.stride()


def test_a_share_without_images_stays_empty() -> None:
    data = dataset(8, (3, 6, 5))
    augment = augmentation(data, 2, True)
    augment.begin_epoch(0)
    assert augment(normalised(data)[:0], np.arange(0)).shape == (0, 3, 6, 5)


def test_without_augmentation_images_are_left_alone() -> None:
    batch = normalised(dataset(4, (1, 5, 5)))[1:3]
    augment = NoAugmentation(4, 0, torch.zeros(1))
    augment.begin_epoch(0)
    assert augment(batch, np.array([1, 2])) is batch

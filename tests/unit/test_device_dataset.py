"""perigee.data.order and device: the order of the images, normalisation, mini-batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perigee.data.device import DeviceDataset, DeviceSplit

from perigee.data.arrays import ArrayDataset
from perigee.data.order import epoch_order

CPU = torch.device("cpu")
seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 2000)


@settings(max_examples=50)
@given(images=st.integers(1, 300), seed=seeds, epoch=epochs)
def test_order_is_a_permutation_that_only_seed_and_epoch_settle(
    images: int, seed: int, epoch: int
) -> None:
    order = epoch_order(images, seed, epoch)
    assert sorted(order.tolist()) == list(range(images))
    np.random.seed(0)
    epoch_order(images, seed + 1, epoch + 1)
    assert np.array_equal(epoch_order(images, seed, epoch), order)


@settings(max_examples=50)
@given(first=st.tuples(seeds, epochs), second=st.tuples(seeds, epochs))
def test_orders_of_different_seeds_or_epochs_differ(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    same = np.array_equal(epoch_order(100, *first), epoch_order(100, *second))
    assert same == (first == second)


def test_seed_and_epoch_are_not_interchangeable() -> None:
    # Were they summed, seed 1 would run one epoch behind seed 0.
    assert not np.array_equal(epoch_order(100, 0, 1), epoch_order(100, 1, 0))


@pytest.fixture(scope="module")
def colourful() -> ArrayDataset:
    """Images of three channels with means and deviations of their own."""
    generator = np.random.default_rng(0)
    return ArrayDataset(
        generator.integers(0, 256, (23, 3, 5, 4), dtype=np.uint8),
        generator.integers(0, 10, 23, dtype=np.uint8),
        generator.integers(0, 256, (7, 3, 5, 4), dtype=np.uint8),
        generator.integers(0, 10, 7, dtype=np.uint8),
        classes=10,
        channel_means=(125.3, 122.9, 113.8),
        channel_stds=(51.5, 50.8, 51.2),
        origin="random",
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_images_are_normalised_channel_by_channel(
    colourful: ArrayDataset, dtype: torch.dtype, digits: float, memory_format: torch.memory_format
) -> None:
    loaded = DeviceDataset.load(colourful, CPU, dtype, memory_format)
    for split, images, labels in (
        (loaded.train, colourful.train_images, colourful.train_labels),
        (loaded.test, colourful.test_images, colourful.test_labels),
    ):
        assert split.images.dtype == dtype
        assert split.images.is_contiguous(memory_format=memory_format)
        for channel in range(3):
            mean, std = colourful.channel_means[channel], colourful.channel_stds[channel]
            expected = (images[:, channel].astype(np.float64) - mean) / std
            found = split.images[:, channel].double().numpy()
            np.testing.assert_allclose(found, expected, rtol=digits, atol=digits)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == labels.tolist()
        assert len(split) == len(labels)
    assert loaded.classes == 10
    assert loaded.image_shape == (3, 5, 4)


def counting_split(images: int) -> DeviceSplit:
    """Image number n is filled with n and has label n."""
    numbers = torch.arange(images)
    return DeviceSplit(numbers.double().view(-1, 1, 1, 1).expand(-1, 1, 2, 2), numbers)


sizes = st.integers(1, 40)


@settings(max_examples=40)
@given(images=sizes, batch_size=sizes)
def test_batches_keep_stored_order_and_the_smaller_last_one(images: int, batch_size: int) -> None:
    batches = list(counting_split(images).batches(batch_size))
    full, rest = divmod(images, batch_size)
    assert [len(labels) for _, labels in batches] == [batch_size] * full + [rest] * (rest > 0)
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(images))
    for pixels, labels in batches:
        assert torch.equal(pixels[:, 0, 1, 1].long(), labels)


@settings(max_examples=40)
@given(images=sizes, batch_size=sizes, seed=seeds, epoch=epochs)
def test_shuffled_batches_follow_the_order(
    images: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = list(counting_split(images).shuffled_batches(batch_size, seed, epoch))
    expected = np.random.default_rng((seed, epoch)).permutation(images)
    full, rest = divmod(images, batch_size)
    assert [len(labels) for _, labels in batches] == [batch_size] * full + [rest] * (rest > 0)
    assert torch.cat([labels for _, labels in batches]).tolist() == expected.tolist()
    for pixels, labels in batches:
        assert torch.equal(pixels[:, 0, 1, 1].long(), labels)


@pytest.mark.parametrize("strides", ["as NumPy makes them", "as they come out of a file"])
def test_images_of_one_channel_are_laid_out_as_asked(
    few_images: ArrayDataset, strides: str
) -> None:
    """With one channel every layout counts as contiguous, but kernels go by the strides."""
    images = few_images.train_images
    count, _, height, width = images.shape
    if strides == "as they come out of a file":
        step = height * width
        images = np.lib.stride_tricks.as_strided(images, strides=(step, step, width, 1))
    loaded = DeviceDataset.load(
        replace(few_images, train_images=images), CPU, torch.float32, torch.channels_last
    )
    expected = (height * width, 1, width, 1)
    assert loaded.train.images.stride() == expected
    for images_of_batch, _ in loaded.train.shuffled_batches(20, 0, 0):
        assert images_of_batch.stride() == expected
    assert count == len(loaded.train)

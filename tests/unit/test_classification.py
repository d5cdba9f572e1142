"""perigee.tasks.classification and data.order: order of the images, normalisation, mini-batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.order import epoch_order
from perigee.kernel.execution import Execution
from perigee.kernel.ranks import Ranks
from perigee.spec import RunSpec
from perigee.tasks.classification import Classification
from support.reference_training import Settings, smoothed_cross_entropy
from support.runs import few_images, make_spec

CPU = torch.device("cpu")
LAYOUTS = (torch.contiguous_format, torch.channels_last)
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


def task(
    dataset: ArrayDataset,
    spec: RunSpec | None = None,
    dtype: torch.dtype = torch.float64,
    layout: torch.memory_format = torch.contiguous_format,
    ranks: Ranks | None = None,
) -> Classification:
    execution = Execution(CPU, dtype, layout)
    return Classification(spec or make_spec(Settings()), dataset, execution, ranks or Ranks(0, 1))


@pytest.fixture(scope="module")
def colourful() -> ArrayDataset:
    """Images of three channels with means and deviations of their own, in three splits."""
    generator = np.random.default_rng(0)
    return ArrayDataset(
        splits={
            name: ArraySplit(
                generator.integers(0, 256, (count, 3, 5, 4), dtype=np.uint8),
                generator.integers(0, 300, count, dtype=np.uint16),
            )
            for name, count in (("train", 23), ("test", 7), ("held_out", 5))
        },
        classes=300,
        channel_means=(125.3, 122.9, 113.8),
        channel_stds=(51.5, 50.8, 51.2),
        origin="random",
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_images_are_normalised_channel_by_channel(
    colourful: ArrayDataset, dtype: torch.dtype, digits: float, layout: torch.memory_format
) -> None:
    loaded = task(colourful, dtype=dtype, layout=layout)
    assert loaded.sizes == {"train": 23, "test": 7, "held_out": 5}
    assert loaded.classes == 300
    assert loaded.image_shape == (3, 5, 4)
    for name, stored in colourful.splits.items():
        split = loaded.splits[name]
        assert split.images.dtype == dtype
        assert split.images.is_contiguous(memory_format=layout)
        for channel in range(3):
            mean, std = colourful.channel_means[channel], colourful.channel_stds[channel]
            expected = (stored.images[:, channel].astype(np.float64) - mean) / std
            found = split.images[:, channel].double().numpy()
            np.testing.assert_allclose(found, expected, rtol=digits, atol=digits)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == stored.labels.tolist()
        assert len(split) == len(stored)


def numbered(images: int) -> ArrayDataset:
    """Image number n is filled with n and has label n."""
    numbers = np.arange(images, dtype=np.uint8)
    filled = np.broadcast_to(numbers[:, None, None, None], (images, 1, 2, 2)).copy()
    split = ArraySplit(filled, numbers)
    return ArrayDataset({"train": split, "test": split}, images, (0.0,), (1.0,), "numbers")


sizes = st.integers(1, 40)


@settings(max_examples=40)
@given(images=sizes, batch_size=sizes, split=st.sampled_from(["train", "test"]))
def test_batches_keep_stored_order_and_the_smaller_last_one(
    images: int, batch_size: int, split: str
) -> None:
    spec = make_spec(Settings(batch_size=batch_size))
    batches = list(task(numbered(images), spec).batches(split))
    full, rest = divmod(images, batch_size)
    assert [len(b.targets) for b in batches] == [batch_size] * full + [rest] * (rest > 0)
    assert [b.count for b in batches] == [len(b.targets) for b in batches]
    assert {b.share for b in batches} == {1}
    assert torch.cat([b.targets for b in batches]).tolist() == list(range(images))
    for batch in batches:
        assert torch.equal(batch.inputs[:, 0, 1, 1].long(), batch.targets)


@settings(max_examples=40)
@given(images=sizes, batch_size=sizes, seed=seeds, epoch=epochs, taken=st.integers(0, 41))
def test_training_steps_follow_the_order_and_may_begin_anywhere(
    images: int, batch_size: int, seed: int, epoch: int, taken: int
) -> None:
    spec = make_spec(Settings(batch_size=batch_size, seed=seed))
    whole = task(numbered(images), spec)
    steps = [list(batches) for batches in whole.training_steps(epoch, taken)]
    expected = np.random.default_rng((seed, epoch)).permutation(images)[taken * batch_size :]
    full, rest = divmod(len(expected), batch_size)
    assert [len(batches) for batches in steps] == [1] * len(steps)
    flat = [batch for (batch,) in steps]
    assert [b.count for b in flat] == [batch_size] * full + [rest] * (rest > 0)
    assert len(flat) == max(whole.steps_per_epoch - taken, 0)
    assert [n for b in flat for n in b.targets.tolist()] == expected.tolist()
    for batch in flat:
        assert torch.equal(batch.inputs[:, 0, 1, 1].long(), batch.targets)


@pytest.mark.parametrize("batch_size", [7, 20, 23, 50])
def test_the_mini_batches_of_a_full_batch_are_one_step_whose_shares_add_up(batch_size: int) -> None:
    whole = task(numbered(23), make_spec(Settings(batch_size=batch_size, full_batch=True)))
    assert whole.steps_per_epoch == 1
    (step,) = [list(batches) for batches in whole.training_steps(3, 0)]
    assert torch.cat([b.targets for b in step]).tolist() == list(range(23))
    assert [b.share for b in step] == pytest.approx([b.count / 23 for b in step])
    assert sum(b.share for b in step) == pytest.approx(1)
    assert list(whole.training_steps(3, 1)) == []


@settings(max_examples=25)
@given(images=sizes, batch_size=sizes, world=st.integers(1, 4), full_batch=st.booleans())
def test_ranks_share_out_the_same_batches(
    images: int, batch_size: int, world: int, full_batch: bool
) -> None:
    spec = make_spec(Settings(batch_size=batch_size, full_batch=full_batch))
    alone = task(numbered(images), spec)
    shared = [task(numbered(images), spec, ranks=Ranks(rank, world)) for rank in range(world)]

    def all_batches(one: Classification) -> list[tuple[list[int], int, float]]:
        steps = [batch for step in one.training_steps(0, 0) for batch in step]
        return [(b.targets.tolist(), b.count, b.share) for b in (*steps, *one.batches("test"))]

    parts = [all_batches(one) for one in shared]
    for (labels, count, share), *others in zip(all_batches(alone), *parts, strict=True):
        assert [n for part, _, _ in others for n in part] == labels
        assert {(c, s) for _, c, s in others} == {(count, share)}


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("strides", ["as NumPy makes them", "as they come out of a file"])
def test_images_of_one_channel_are_laid_out_as_asked(strides: str, padding: int | None) -> None:
    """With one channel every layout counts as contiguous, but kernels go by the strides."""
    train = few_images().splits["train"]
    count, _, height, width = train.images.shape
    images = train.images
    if strides == "as they come out of a file":
        step = height * width
        images = np.lib.stride_tricks.as_strided(images, strides=(step, step, width, 1))
    splits = {**few_images().splits, "train": replace(train, images=images)}
    loaded = task(
        replace(few_images(), splits=splits),
        make_spec(Settings(padding=padding)),
        torch.float32,
        torch.channels_last,
    )
    expected = (height * width, 1, width, 1)
    assert loaded.splits["train"].images.stride() == expected
    batches = [batch for step in loaded.training_steps(0, 0) for batch in step]
    assert sum(b.count for b in batches) == count
    for batch in batches:
        assert batch.inputs.stride() == expected


@settings(max_examples=25)
@given(smoothing=st.floats(0, 0.99), seed=seeds, images=st.integers(1, 9))
def test_losses_and_errors_are_sums_over_images(smoothing: float, seed: int, images: int) -> None:
    loaded = task(few_images(), make_spec(Settings(label_smoothing=smoothing)))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((images, 10), generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (images,), generator=generator)
    for loss, used in ((loaded.loss, smoothing), (loaded.test_loss, 0.0)):
        expected = images * smoothed_cross_entropy(logits, labels, used)
        torch.testing.assert_close(loss(logits, labels), expected, rtol=1e-12, atol=0)
    wrong = sum(row.index(max(row)) != n for row, n in zip(logits.tolist(), labels, strict=True))
    assert int(loaded.errors(logits, labels)) == wrong


def test_steps_that_are_left_out_change_nothing_of_the_others() -> None:
    loaded = task(few_images(), make_spec(Settings(padding=2)))
    (one,), _, (later,) = islice(map(list, loaded.training_steps(1, 0)), 3)
    (other,) = next(loaded.training_steps(1, 2))
    assert torch.equal(other.inputs, later.inputs)
    assert not torch.equal(one.inputs, other.inputs)

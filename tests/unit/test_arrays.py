"""perigee.data.arrays, array_files and building: what is saved is what is loaded, or a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from perigee.data.array_files import DATA, load_arrays, save_arrays
from perigee.data.arrays import ArrayDataset, ArraySplit, label_type
from perigee.data.building import with_noisy_labels
from perigee.errors import PerigeeError
from support.runs import few_images


def random_dataset(
    seed: int, sizes: tuple[int, ...] = (5, 3), channels: int = 2, classes: int = 7
) -> ArrayDataset:
    generator = np.random.default_rng(seed)

    def split(count: int) -> ArraySplit:
        # A transposed array, as CIFAR's are: not contiguous.
        array = generator.integers(0, 256, (count, 6, 4, channels), dtype=np.uint8)
        labels = generator.integers(0, classes, count).astype(label_type(classes))
        return ArraySplit(array.transpose(0, 3, 1, 2), labels)

    return ArrayDataset(
        splits={
            name: split(count)
            for name, count in zip(("train", "test", "held_out"), sizes, strict=False)
        },
        classes=classes,
        channel_means=tuple(generator.normal(size=channels).tolist()),
        channel_stds=tuple(generator.uniform(0.1, 1, channels).tolist()),
        origin="zufällig, ρ",
    )


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple),
    channels=st.integers(1, 3),
    classes=st.sampled_from([7, 256, 257, 1000]),
)
def test_round_trip(
    seed: int,
    sizes: tuple[int, ...],
    channels: int,
    classes: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    dataset = random_dataset(seed, sizes, channels, classes)
    folder = tmp_path_factory.mktemp("data")
    save_arrays(dataset, folder)
    loaded = load_arrays(folder)
    assert list(loaded.splits) == list(dataset.splits)
    for name, saved in dataset.splits.items():
        read = loaded.splits[name]
        assert read.images.dtype == np.uint8
        assert read.labels.dtype == (np.uint8 if classes <= 256 else np.uint16)
        assert np.array_equal(read.images, saved.images)
        assert np.array_equal(read.labels, saved.labels)
    # Floats exactly: JSON keeps every digit.
    for name in ("classes", "channel_means", "channel_stds", "origin"):
        assert getattr(loaded, name) == getattr(dataset, name)
    assert loaded.image_shape == (channels, 6, 4)
    assert loaded.sha256 == dataset.sha256


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    save_arrays(random_dataset(0), tmp_path)
    path = tmp_path / DATA
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PerigeeError, match=r"data\.safetensors is not a readable data set.*delete"):
        load_arrays(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=r"manifest\.json is not a readable"):
        load_arrays(tmp_path)


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weights": np.zeros(3)}, tmp_path / DATA)
    with pytest.raises(PerigeeError, match="not a readable data set"):
        load_arrays(tmp_path)
    save_file({"weights": np.zeros(3)}, tmp_path / DATA, metadata={"dataset": "{}"})
    with pytest.raises(PerigeeError, match="not a readable data set"):
        load_arrays(tmp_path)


def test_a_data_set_is_proven_by_its_checksum() -> None:
    dataset = random_dataset(0)
    dataset.require(dataset.sha256, "noise")
    with pytest.raises(PerigeeError, match=r"'noise': .* wrong checksum .* install the versions"):
        dataset.require(random_dataset(1).sha256, "noise")


# Noise in the labels


@settings(max_examples=25)
@given(share=st.floats(0.01, 1), seed=st.integers(0, 2**32 - 1))
def test_a_share_of_the_training_labels_is_drawn_anew(share: float, seed: int) -> None:
    clean = few_images()
    noisy = with_noisy_labels(clean, share, seed)
    before, after = clean.splits["train"], noisy.splits["train"]
    assert after.labels.dtype == before.labels.dtype
    changed = int((after.labels != before.labels).sum())
    assert changed <= round(share * len(before))
    assert after.labels.max() < clean.classes
    assert np.array_equal(after.images, before.images)
    assert noisy.splits["test"] is clean.splits["test"]
    again = with_noisy_labels(clean, share, seed).splits["train"]
    assert np.array_equal(again.labels, after.labels)
    assert np.array_equal(clean.splits["train"].labels, few_images().splits["train"].labels)


def test_noisy_labels_are_uniform_and_some_stay_right() -> None:
    many = random_dataset(0, (20_000, 3), 1, 10)
    noisy = with_noisy_labels(many, 0.5, 1).splits["train"].labels
    changed = (noisy != many.splits["train"].labels).mean()
    # Half are drawn anew, a tenth of which as they were.
    assert changed == pytest.approx(0.45, abs=0.015)
    counts = np.bincount(with_noisy_labels(many, 1.0, 1).splits["train"].labels, minlength=10)
    assert abs(counts - 2000).max() < 250


def test_without_noise_the_data_set_is_the_same() -> None:
    dataset = few_images()
    assert with_noisy_labels(dataset, 0.0, 3) is dataset

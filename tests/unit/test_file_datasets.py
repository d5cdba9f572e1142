"""Data sets that stay files: how they are built and refused, and what their product says."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from perigee import registry
from perigee.blocks.datasets import Dataset, ImageFolder
from perigee.data.array_files import DATA
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.image_folder import list_split
from perigee.data.manifest import MANIFEST, Manifest
from perigee.data.saving import load_dataset, save_dataset
from perigee.errors import PerigeeError
from perigee.identity.code import module_digests
from support.streamed_runs import COUNTS, TRAIN_IMAGES, grow, listed

MEANS, STDS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""ImageNet's usual ones in grey levels, as Caffe-style configurations spell them."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("data") / "insects")


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(root, tmp_path / "data" / root.name)


@pytest.fixture
def arrays() -> ArrayDataset:
    draws = np.random.default_rng(0)
    splits = {
        name: ArraySplit(
            draws.integers(0, 256, (count, 2, 4, 6), dtype=np.uint8),
            draws.integers(0, 7, count, dtype=np.uint8),
        )
        for name, count in (("train", 5), ("test", 3))
    }
    return ArrayDataset(splits, 7, (0.1, 1 / 3), (2.5, 1e-3), "zufällig, ρ")


# Building


def test_what_is_built_is_the_tree(root: Path) -> None:
    dataset = listed(root)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": TRAIN_IMAGES,
        "test": 19,
    }
    assert dataset.folders == {"train": root / "train", "test": root / "val"}
    assert dataset.classes == 3
    assert dataset.image_shape == (3, 16, 16)
    np.testing.assert_allclose(dataset.channel_means, MEANS, rtol=1e-12)
    np.testing.assert_allclose(dataset.channel_stds, STDS, rtol=1e-12)
    for name, folder in (("train", "train"), ("test", "val")):
        split = dataset.splits[name]
        paths = [split.path(number) for number in range(len(split))]
        expected = {f"{c}/{n:02}.png" for c, count in COUNTS[folder].items() for n in range(count)}
        assert set(paths) == expected
        names = list(COUNTS[folder])
        assert split.labels.tolist() == [names.index(path.split("/")[0]) for path in paths]
        assert split.sizes.tolist() == [(root / folder / path).stat().st_size for path in paths]


def test_classes_are_mixed_in_stored_order_always_alike(root: Path) -> None:
    labels = listed(root).splits["train"].labels
    # Sorted by class, most mini-batches would have one class only.
    assert all(len(set(labels[first : first + 12])) == 3 for first in range(0, 60, 12))
    assert labels.tolist() == listed(root).splits["train"].labels.tolist()


@pytest.mark.parametrize(("resolution", "resize"), [(224, 256), (16, 18), (64, 73)])
def test_images_are_resized_in_imagenets_proportion(
    root: Path, resolution: int, resize: int
) -> None:
    assert listed(root, resolution=resolution).resize == resize


def test_other_splits_and_statistics_may_be_chosen(own: Path) -> None:
    (own / "val").rename(own / "held out")
    dataset = listed(
        own, train_split="held out", test_split="train", train_images=19, resize=20,
        channel_means=[0, 0.2, 1], channel_stds=[1, 1, 2],
    )  # fmt: skip
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 19,
        "test": TRAIN_IMAGES,
    }
    assert dataset.resize == 20
    assert dataset.channel_means == (0, 51, 255)
    assert dataset.channel_stds == (255, 255, 510)


def test_labels_may_be_noisy(root: Path) -> None:
    clean, noisy = listed(root), listed(root, label_noise=0.5, noise_seed=3)
    before, after = clean.splits["train"], noisy.splits["train"]
    changed = np.flatnonzero(before.labels != after.labels)
    # Half of the images, of which a third keep their labels by chance.
    assert 10 <= len(changed) <= 30
    assert set(after.labels) == {0, 1, 2}
    assert np.array_equal(before.path_bytes, after.path_bytes)
    assert np.array_equal(clean.splits["test"].labels, noisy.splits["test"].labels)


def test_a_few_images_are_decoded(own: Path) -> None:
    for path in (own / "val").glob("*/*"):
        path.write_bytes(b"no image")
    with pytest.raises(PerigeeError, match=r"folder 'insects': .*/val/.*png is not a readable"):
        listed(own)


def test_another_number_of_images_is_refused(root: Path) -> None:
    with pytest.raises(PerigeeError, match=r"'train_images' is 60, but .*train has 61 .* to 61"):
        listed(root, train_images=60)


def test_splits_of_different_classes_are_refused(own: Path) -> None:
    shutil.copytree(own / "val" / "ant", own / "val" / "dog")
    with pytest.raises(PerigeeError, match=r"class 'dog' is in .*val but not in .*train; give"):
        listed(own)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match="'image_folder', folder 'nothing': There is no folder"):
        listed(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"folder": "/data/imagenet"}, "a path below one"),
        ({"folder": "../imagenet"}, "a path below one"),
        ({"test_split": ""}, "a path below one"),
        ({"resize": 200}, "at least 'resolution', 224"),
        ({"train_images": 0}, "greater than or equal to 1"),
        ({"channel_stds": [0.2, 0, 0.2]}, "greater than 0"),
        ({"channel_means": [0.5]}, "Field required"),
    ],
)
def test_parameters_without_meaning_are_refused(changed: dict[str, Any], told: str) -> None:
    right = {"folder": "imagenet", "train_images": 1281167, "resolution": 224}
    assert ImageFolder(**right).to_dict() == {"name": "image_folder", **right}
    with pytest.raises(pydantic.ValidationError, match=told):
        ImageFolder(**{**right, **changed})


def test_planning_knows_the_number_of_training_images_of_every_data_set() -> None:
    for block in registry.REGISTRY["dataset"].values():
        assert issubclass(block, Dataset)
        counted = "train_images" in block.model_fields or isinstance(block.train_images, int)
        assert counted, block.name


# The product


def assert_same_listing(one: Any, other: Any) -> None:
    assert one.splits.keys() == other.splits.keys()
    for name, split in one.splits.items():
        for attribute, value in vars(split).items():
            assert np.array_equal(value, getattr(other.splits[name], attribute)), attribute
    rest = [{k: v for k, v in vars(each).items() if k != "splits"} for each in (one, other)]
    assert rest[0] == rest[1]


@pytest.mark.parametrize("hashed", [False, True])
def test_listings_come_back(root: Path, tmp_path: Path, hashed: bool) -> None:
    dataset = listed(root, channel_means=[1 / 3, 0.1, 2 / 3])
    dataset = dataset.with_contents() if hashed else dataset
    save_dataset(dataset, tmp_path)
    assert_same_listing(load_dataset(tmp_path), dataset)


def test_arrays_come_back(arrays: ArrayDataset, tmp_path: Path) -> None:
    save_dataset(arrays, tmp_path)
    loaded = load_dataset(tmp_path)
    assert isinstance(loaded, ArrayDataset)
    for name, split in arrays.splits.items():
        for attribute in ("images", "labels"):
            saved, read = getattr(split, attribute), getattr(loaded.splits[name], attribute)
            assert read.dtype == saved.dtype
            assert np.array_equal(read, saved)
    for name in ("classes", "channel_means", "channel_stds", "origin"):
        assert getattr(loaded, name) == getattr(arrays, name)


def test_the_manifest_tells_arrays(arrays: ArrayDataset, tmp_path: Path) -> None:
    save_dataset(arrays, tmp_path)
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8")) == {
        "kind": "arrays",
        "splits": {"train": 5, "test": 3},
        "classes": 7,
        "image_shape": [2, 4, 6],
        "channel_means": [0.1, 1 / 3],
        "channel_stds": [2.5, 1e-3],
        "origin": "zufällig, ρ",
    }
    (tmp_path / DATA).unlink()  # which is never looked at
    assert Manifest.load(tmp_path).splits == {"train": 5, "test": 3}


def test_the_manifest_tells_files(root: Path, tmp_path: Path) -> None:
    save_dataset(listed(root, resize=24), tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["kind"] == "files"
    assert manifest["splits"] == {"train": TRAIN_IMAGES, "test": 19}
    assert manifest["image_shape"] == [3, 16, 16]
    assert manifest["files"] == {
        "folders": {"train": str(root / "train"), "test": str(root / "val")},
        "bytes": {
            name: sum(path.stat().st_size for path in (root / folder).glob("*/*"))
            for name, folder in (("train", "train"), ("test", "val"))
        },
        "resize": 24,
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        MANIFEST,
        "train.safetensors",
        "test.safetensors",
    }


def test_contents_are_hashed_only_on_request(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read"))
    dataset = listed(root)
    save_dataset(dataset, tmp_path)
    load_dataset(tmp_path)
    monkeypatch.setattr(hashlib, "file_digest", real)
    save_dataset(dataset.with_contents(), tmp_path)
    files = Manifest.load(tmp_path).files
    assert files is not None
    assert files.contents_sha256 is not None
    test = dataset.splits["test"]
    total = hashlib.sha256()
    for number in range(len(test)):
        content = (root / "val" / test.path(number)).read_bytes()
        total.update(hashlib.sha256(content).digest())
    assert files.contents_sha256["test"] == total.hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "arrays"}', '{"kind": "tapes"}'])
def test_a_malformed_manifest_is_refused(text: str, arrays: ArrayDataset, tmp_path: Path) -> None:
    save_dataset(arrays, tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(PerigeeError, match=r"manifest\.json is not a readable data set.*delete"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_arrays_are_refused(kept: int, arrays: ArrayDataset, tmp_path: Path) -> None:
    save_dataset(arrays, tmp_path)
    path = tmp_path / DATA
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PerigeeError, match=r"data\.safetensors is not a readable data set.*delete"):
        load_dataset(tmp_path)


def test_a_product_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=r"manifest\.json is not a readable data set"):
        load_dataset(tmp_path)


def test_images_that_were_moved_are_missed_at_once(own: Path, tmp_path: Path) -> None:
    product = tmp_path / "product"
    product.mkdir()
    save_dataset(listed(own), product)
    own.rename(own.with_name("moved"))
    with pytest.raises(PerigeeError, match=r"There is no folder .*insects/train, whose .* listed"):
        load_dataset(product)


def test_a_split_may_be_taken_in_part(root: Path) -> None:
    whole = list_split(root / "val")
    part = whole.taken(np.array([18, 0, 7]))
    assert [part.path(number) for number in range(3)] == ["cat/05.png", "ant/00.png", "bee/00.png"]
    assert part.labels.tolist() == [2, 0, 1]
    assert part.sizes.tolist() == [
        (root / "val" / name).stat().st_size for name in ("cat/05.png", "ant/00.png", "bee/00.png")
    ]


# Identity


def test_the_code_of_files_is_not_that_of_arrays() -> None:
    task, dataset = "perigee.tasks.classification", "perigee.data.digits"
    reached = module_digests({"perigee.kernel.trainer", "perigee.data.building", task, dataset})
    assert {task, "perigee.data.arrays", "perigee.tasks.single_label"} <= set(reached)
    of_files = {"image_folder", "file_datasets", "transforms", "saving", "streaming"}
    assert not of_files & {module.rpartition(".")[2] for module in reached}

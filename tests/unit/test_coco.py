"""COCO's tree and generated images in its format: the listing, masks, products, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image

from perigee.blocks.datasets import Coco, ColouredShapes
from perigee.data.annotated_files import AnnotatedDataset, AnnotatedSplit
from perigee.data.annotated_transforms import Resized, filled, mirrored, resized_size
from perigee.data.augmentations.horizontal_flip import HorizontalFlip
from perigee.data.building import build_dataset
from perigee.data.image_folder import read_image
from perigee.data.saving import load_dataset, save_dataset
from perigee.errors import PerigeeError
from support.annotated_images import annotation, annotations_of, drawn, edit, grow, listed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """A tree that a test may spoil."""
    return shutil.copytree(root, tmp_path / "own" / "coco")


# The listing


def test_images_are_listed_by_name_with_their_objects(root: Path) -> None:
    dataset = listed(root)
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert [train.files.path(n) for n in range(3)] == ["000.png", "001.png", "004.png"]
    assert [test.files.path(n) for n in range(2)] == ["000.png", "001.png"]
    assert train.image_sizes.tolist() == [[30, 40], [40, 30], [32, 32]]
    assert train.files.classes == ("car", "dog"), "in the order of their numbers"
    assert dataset.classes == 2
    first = train.objects(0)
    assert first.boxes.tolist() == [[2, 5, 12, 13], [20, 5, 30, 13]]
    assert first.categories.tolist() == [0, 1]
    assert [[p.tolist() for p in one] for one in first.polygons] == [
        [[[left, 5], [left + 10, 5], [left + 10, 13], [left, 13]]] for left in (2, 20)
    ]
    assert train.objects(2).boxes.tolist() == [[11, 5, 21, 13]]


def test_test_images_without_objects_stay(own: Path) -> None:
    edit(own, lambda told: told.update(annotations=[annotation(1, 70, 2)]), "val2017")
    test = listed(own).splits["test"]
    assert len(test) == 2
    assert test.objects(1).boxes.shape == (0, 4)
    assert test.objects(1).polygons == []


def test_boxes_are_cut_at_the_edges_and_empty_ones_left_out(own: Path) -> None:
    def change(told: dict[str, Any]) -> None:
        told["annotations"][0]["bbox"] = [-0.4, 5, 40.9, 8]
        told["annotations"][1]["bbox"] = [3, 5, 0, 8]

    edit(own, change)
    assert listed(own).splits["train"].objects(0).boxes.tolist() == [[0, 5, 40, 13]]


def assert_same(one: AnnotatedDataset, other: AnnotatedDataset) -> None:
    for name, split in one.splits.items():
        again = other.splits[name]
        for attribute, value in {**vars(split), **vars(split.files)}.items():
            if attribute != "files":
                found = {**vars(again), **vars(again.files)}[attribute]
                assert np.array_equal(value, found), attribute
    for attribute in ("resize", "longest_side", "channel_means", "channel_stds", "origin"):
        assert getattr(one, attribute) == getattr(other, attribute)


def test_listings_come_back(root: Path, tmp_path: Path) -> None:
    dataset = listed(root, resize=60, longest_side=70)
    save_dataset(dataset, tmp_path)
    loaded = load_dataset(tmp_path)
    assert isinstance(loaded, AnnotatedDataset)
    assert_same(dataset, loaded)
    assert loaded.folders == {"train": root / "train2017", "test": root / "val2017"}
    assert loaded.image_shape == (3, 60, 70)


def test_images_that_were_moved_are_missed_at_once(own: Path, tmp_path: Path) -> None:
    product = tmp_path / "product"
    product.mkdir()
    save_dataset(listed(own), product)
    own.rename(own.with_name("moved"))
    with pytest.raises(PerigeeError, match=r"There is no folder .*train2017, whose .* lists; put"):
        load_dataset(product)


def test_a_damaged_listing_is_refused(root: Path, tmp_path: Path) -> None:
    save_dataset(listed(root), tmp_path)
    path = tmp_path / "train_objects.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(PerigeeError, match=r"train_objects.* not a readable listing of objects"):
        load_dataset(tmp_path)


# Refusals: every sentence names the data set, what is wrong, where, and what to do


def remove(path: str) -> Any:
    return lambda root: (root / path).unlink()


def of_first(**changed: Any) -> Any:
    return lambda root: edit(root, lambda told: told["annotations"][0].update(changed))


def shrink(root: Path) -> None:
    Image.new("RGB", (20, 20)).save(root / "train2017/000.png")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: shutil.rmtree(root), r"There is no folder .*train2017; put the images"),
        (lambda root: shutil.rmtree(root / "val2017"), r"There is no folder .*val2017; put"),
        (remove("annotations/instances_val2017.json"), r"no file .*val2017\.json; put the annot"),
        (
            lambda root: annotations_of(root).write_text('{"images": [', encoding="utf-8"),
            r"instances_train2017\.json is not readable JSON \(.*\); put a sound copy",
        ),
        (
            lambda root: edit(root, lambda told: told.pop("categories")),
            r"not in COCO's format \(KeyError: 'categories'\); put a sound copy",
        ),
        (
            lambda root: annotations_of(root).write_text("[]", encoding="utf-8"),
            r"not in COCO's format \(TypeError",
        ),
        (remove("train2017/001.png"), r"lists the image 001\.png, which is not in .*; put it"),
        (of_first(image_id=5), r"annotation 1 is of the image 5, which the file does not list"),
        (of_first(category_id=5), r"annotation 1 is of the category 5, which the file does not"),
        (of_first(bbox=[35, 5, 10, 8]), r"annotation 1 of 000\.png, which has 40 x 30 pixels, has "
         r"a box that is not within the image \(35 to 45 across, 5 to 13 down\); put a sound copy"),
        (of_first(bbox=[3, 5, -1, 8]), r"has a box that is not within the image"),
        (of_first(bbox=[3, float("nan"), 1, 8]), r"has a box that is not within the image"),
        (of_first(segmentation=[[2, 5, 12, 5, 12, 33]]), r"has a mask that is not within the im"),
        (of_first(segmentation=[[2, 5, 12, 5]]), r"has no outline of at least three points"),
        (of_first(segmentation=[]), r"has no outline of at least three points"),
        (
            lambda root: edit(root, lambda told: told.update(annotations=[])),
            r"lists no image with objects; put a sound copy",
        ),
        (
            lambda root: edit(root, lambda told: told["categories"][0].update(name="cat")),
            r"have different categories \(2 and 2\); use files of one edition",
        ),
        (
            lambda root: (root / "train2017/000.png").write_bytes(b"no image"),
            r"000\.png is not a readable image",
        ),
        (shrink, r"000\.png has 20 x 20 pixels, but its annotations are of 40 x 30; put"),
    ],
)  # fmt: skip
def test_what_does_not_fit_gets_a_sentence(own: Path, spoil: Any, told: str) -> None:
    spoil(own)
    with pytest.raises(PerigeeError, match=rf"^Data set 'coco', folder 'coco': .*{told}"):
        listed(own)


@pytest.mark.parametrize(
    ("key", "found"), [("train_images", 3), ("test_images", 2), ("categories", 2)]
)
def test_other_numbers_than_configured_are_refused(root: Path, key: str, found: int) -> None:
    told = rf"key '{key}' is 7, but .*coco has {found}; set it to {found}, or complete the folder"
    with pytest.raises(PerigeeError, match=told):
        listed(root, **{key: 7})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"label_noise": 0.1}, "less than or equal to 0"),
        ({"longest_side": 700}, "must be at least 'resize', 800"),
        ({"folder": "../coco"}, "a path below one"),
        ({"categories": 0}, "greater than or equal to 1"),
    ],
)
def test_parameters_without_meaning_are_refused(changed: dict[str, Any], told: str) -> None:
    assert Coco().to_dict() == {"name": "coco"}
    with pytest.raises(pydantic.ValidationError, match=told):
        Coco(**changed)


# Transforms


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((300, 900), (444, 1333))],
)
def test_the_shorter_side_is_resized_unless_the_longer_gets_too_long(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert resized_size(*size, 800, 1333) == expected


def test_a_mask_is_the_union_of_its_outlines() -> None:
    squares = [np.array([[x, 2], [x + 3, 2], [x + 3, 5], [x, 5]], np.float32) for x in (1, 6)]
    expected = np.zeros((8, 12), dtype=bool)
    expected[2:6, 1:5] = expected[2:6, 6:10] = True
    assert np.array_equal(filled(squares, 8, 12), expected)


def example(split: AnnotatedSplit, folder: Path, transform: Any, number: int) -> Any:
    image = read_image(folder / split.files.path(number))
    return transform(image, split.objects(number), number)


def test_boxes_and_masks_follow_the_image(root: Path) -> None:
    dataset = listed(root)
    found = example(dataset.splits["train"], dataset.folders["train"], Resized(60, 90), 0)
    assert found.image.shape == (3, 60, 80)
    assert found.boxes.tolist() == [[4, 10, 24, 26], [40, 10, 60, 26]]
    for box, mask in zip(found.boxes.tolist(), found.masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert [columns.min(), rows.min(), columns.max(), rows.max()] == box
    turned = mirrored(found)
    assert turned.boxes.tolist() == [[56, 10, 76, 26], [20, 10, 40, 26]]
    assert np.array_equal(turned.masks[0], found.masks[0][:, ::-1])
    assert torch.equal(turned.image.flip(2), found.image)


def test_half_of_the_images_are_mirrored_anew_in_every_epoch() -> None:
    dataset = drawn()
    split, folder = dataset.splits["train"], dataset.folders["train"]
    plain = example(split, folder, Resized(32, 32), 4)
    mirrors = [
        not torch.equal(example(split, folder, HorizontalFlip(32, 32, 3, e), 4).image, plain.image)
        for e in range(40)
    ]
    assert 10 < sum(mirrors) < 30


# Generated images


def test_generated_images_depend_on_their_parameters_alone(tmp_path: Path) -> None:
    dataset, same, other = drawn(), drawn(), drawn(drawing_seed=1)
    assert_same(dataset, same)
    points = dataset.splits["train"].points
    assert not np.array_equal(points[:5], other.splits["train"].points[:5])
    names = {name: [s.files.path(n) for n in range(len(s))] for name, s in dataset.splits.items()}
    assert [len(one) for one in names.values()] == [10, 3]
    for name, paths in names.items():
        for path in paths:
            found = [read_image(one.folders[name] / path).tobytes() for one in (dataset, same)]
            assert found[0] == found[1]


def test_generated_images_have_what_their_annotations_say() -> None:
    dataset = drawn(side=64, resize=64, longest_side=64)
    split = dataset.splits["train"]
    assert dataset.classes == 3
    assert set(split.categories) == {0, 1, 2}
    for number in range(len(split)):
        found = example(split, dataset.folders["train"], Resized(64, 64), number)
        assert 1 <= len(found.boxes) <= 3
        corners = {0: 3, 1: 4, 2: 6}
        for category, (outline,) in zip(
            found.categories.tolist(), split.objects(number).polygons, strict=True
        ):
            assert len(outline) == corners[category]
        last = found.image[:, torch.from_numpy(found.masks[-1])]
        assert len(last.unique(dim=1)[0]) == 1, "the last shape is of one colour"
        assert last.max() == 255
        others = found.image[:, torch.from_numpy(~found.masks.any(axis=0))]
        assert others.max() < 60


def test_a_product_holds_generated_images(tmp_path: Path) -> None:
    first, second = tmp_path / "aside", tmp_path / "product"
    first.mkdir()
    dataset = drawn()
    save_dataset(dataset, first)
    assert not [path for path in first.iterdir() if path.is_dir()]
    first.rename(second)
    del dataset
    loaded = load_dataset(second)
    assert isinstance(loaded, AnnotatedDataset)
    assert loaded.origin == "coloured shapes drawn from seed 0"
    for name, split in loaded.splits.items():
        for number in range(len(split)):
            read_image(loaded.folders[name] / split.files.path(number))


def test_too_small_images_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="greater than or equal to 32"):
        ColouredShapes(train_images=1, test_images=1, side=16)


def test_building_it_needs_no_folder(tmp_path: Path) -> None:
    block = ColouredShapes(train_images=2, test_images=1, resize=64, longest_side=64)
    build_dataset(block, tmp_path / "nowhere", download=False)
    assert not list(tmp_path.iterdir())

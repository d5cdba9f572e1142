"""Listing an ImageFolder tree, and looking into its files."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from perigee.data.image_folder import (
    FileSplit,
    check_sample,
    contents_digest,
    list_split,
    read_image,
)
from perigee.errors import PerigeeError

FILES = {
    "ant": ("b.jpg", "B.JPEG", "a 1.png"),
    "Bee": ("10.bmp", "9.webp"),
    "côté": ("naïve.jpeg",),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A split of three classes and six images, with files that are not its business."""
    folder = tmp_path / "train"
    pixels = np.random.default_rng(0)
    for name, files in FILES.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            image = pixels.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / name / file)
    (folder / "ant" / "notes.txt").write_text("not an image")
    (folder / "README.md").write_text("not a class")
    return folder


def test_the_listing_is_torchvisions(folder: Path) -> None:
    split = list_split(folder)
    reference = ImageFolder(folder)
    paths = [str(folder / split.path(number)) for number in range(len(split))]
    assert list(zip(paths, split.labels.tolist(), strict=True)) == reference.samples
    assert list(split.classes) == reference.classes == ["Bee", "ant", "côté"]
    assert split.labels.dtype == np.int64
    assert split.sizes.tolist() == [Path(path).stat().st_size for path in paths]


def test_hidden_files_and_folders_are_ignored(folder: Path) -> None:
    before = list_split(folder)
    (folder / ".cache").mkdir()
    (folder / "ant" / ".checkpoints").mkdir()
    shutil.copy(folder / "ant" / "b.jpg", folder / "ant" / "._b.jpg")
    after = list_split(folder)
    assert after.classes == before.classes
    assert after.path_bytes.tobytes() == before.path_bytes.tobytes()


def test_names_that_are_not_text_are_kept(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.jpg")
    shutil.copy(folder / "ant" / "b.jpg", folder / "ant" / name)
    list_split(folder).save(tmp_path / "listing")
    split = FileSplit.load(tmp_path / "listing")
    assert split.path(5) == f"ant/{name}"
    read_image(folder / split.path(5))


def _leave(folder: Path) -> None:
    pass


def _empty_class(folder: Path) -> None:
    (folder / "wasp").mkdir()
    (folder / "wasp" / "wasp.txt").touch()


def _dangling_link(folder: Path) -> None:
    (folder / "ant" / "c.jpg").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("change", "listed", "message"),
    [
        (_leave, "test", "There is no folder .*test; give the folder"),
        (_leave, "train/ant", "ant has no sub-folders; give the folder"),
        (_leave, ".", "Bee is a folder, but the images of class 'train' .* give .*train as"),
        (_empty_class, "train", "Class 'wasp' has no images: .*; put its images there or remove"),
        (_dangling_link, "train", r"train cannot be listed \(.*c.jpg.*\); mend"),
    ],
)
def test_what_is_not_a_split_is_refused(folder: Path, change, listed: str, message: str) -> None:
    change(folder)
    with pytest.raises(PerigeeError, match=message):
        list_split(folder.parent / listed)


def test_a_listing_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    split = list_split(folder)
    split.save(tmp_path / "listing")
    read = FileSplit.load(tmp_path / "listing")
    assert read.classes == split.classes
    assert [read.path(number) for number in range(6)] == [
        "Bee/10.bmp",
        "Bee/9.webp",
        "ant/B.JPEG",
        "ant/a 1.png",
        "ant/b.jpg",
        "côté/naïve.jpeg",
    ]
    np.testing.assert_array_equal(read.labels, [0, 0, 1, 1, 1, 2])
    np.testing.assert_array_equal(read.sizes, split.sizes)


def test_a_long_listing_is_read_as_it_was_written(tmp_path: Path) -> None:
    paths = [f"n{label:08}/image {number}.JPEG" for label in range(1000) for number in range(200)]
    labels = np.repeat(np.arange(1000), 200)
    split = FileSplit.of_files(
        (f"n{label:08}" for label in range(1000)), paths, labels, range(200_000)
    )
    split.save(tmp_path / "listing")
    read = FileSplit.load(tmp_path / "listing")
    assert len(read) == 200_000
    for number in (0, 1, 99_999, 199_999):
        assert read.path(number) == paths[number]
        assert read.labels[number] == number // 200
        assert read.sizes[number] == number


@pytest.mark.parametrize("content", [b"", b"truncated"])
def test_a_broken_listing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "listing").write_bytes(content)
    with pytest.raises(PerigeeError, match=r"listing is not a readable listing .*; delete"):
        FileSplit.load(tmp_path / "listing")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _replace_by_text(path: Path) -> None:
    path.write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "[Tt]runcated"),
        (_replace_by_text, "none of JPEG"),
        (Path.unlink, "No such file"),
    ],
)
def test_an_unreadable_image_is_named(folder: Path, damage, reason: str) -> None:
    split = list_split(folder)
    check_sample(split, folder, count=100, seed=0)
    damage(folder / "ant" / "b.jpg")
    with pytest.raises(PerigeeError, match=rf"ant/b.jpg is not .* \(.*{reason}.*\); put"):
        check_sample(split, folder, count=100, seed=0)


def test_a_sample_is_of_the_size_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("perigee.data.image_folder.read_image", read.append)
    for seed in range(20):
        check_sample(list_split(folder), folder, count=4, seed=seed)
    samples = [read[start : start + 4] for start in range(0, 80, 4)]
    assert len(read) == 80
    assert all(len(set(sample)) == 4 for sample in samples)
    assert len(set(read)) == 6


def test_images_of_all_modes_are_read_as_rgb(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "transparent.png")
    for name in ("grey", "transparent"):
        pixels = np.array(read_image(tmp_path / f"{name}.png"))
        np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=-1))


def test_the_digest_is_of_every_byte(folder: Path) -> None:
    split = list_split(folder)
    contents = [(folder / split.path(number)).read_bytes() for number in range(6)]
    expected = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents))
    assert contents_digest(split, folder) == expected.hexdigest()
    with (folder / "ant" / "b.jpg").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert contents_digest(split, folder) != expected.hexdigest()
    (folder / "ant" / "b.jpg").unlink()
    with pytest.raises(PerigeeError, match=r"ant/b.jpg cannot be read"):
        contents_digest(split, folder)

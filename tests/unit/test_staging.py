"""perigee.jobs.staging: images copied to a disk of the node."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from perigee.blocks.datasets import Digits
from perigee.data.building import build_dataset
from perigee.data.file_datasets import FileDataset
from perigee.errors import PerigeeError
from perigee.jobs.staging import staged
from support.streamed_runs import TRAIN_IMAGES, grow, listed

TEST_IMAGES = 19


@pytest.fixture
def dataset(tmp_path: Path) -> FileDataset:
    return listed(grow(tmp_path / "insects", side=8))


def nothing() -> None:
    """Nobody asks to stop."""


def copies(dataset: FileDataset, place: Path) -> FileDataset:
    found = staged(dataset, str(place), nothing)
    assert isinstance(found, FileDataset)
    return found


def contents(dataset: FileDataset) -> dict[str, list[bytes]]:
    """The content of every image in the order of the listing, by split."""
    return {
        name: [
            (dataset.folders[name] / split.path(number)).read_bytes()
            for number in range(len(split))
        ]
        for name, split in dataset.splits.items()
    }


def test_the_copies_are_the_images(dataset: FileDataset, tmp_path: Path) -> None:
    found = copies(dataset, tmp_path / "node")
    assert all(folder.is_relative_to(tmp_path / "node") for folder in found.folders.values())
    assert len(set(found.folders.values())) == 2
    assert contents(found) == contents(dataset)
    assert [len(images) for images in contents(found).values()] == [TRAIN_IMAGES, TEST_IMAGES]


def test_what_is_there_is_not_copied_again_but_what_is_cut_off_or_gone_is(
    dataset: FileDataset, tmp_path: Path
) -> None:
    found = copies(dataset, tmp_path / "node")
    files = [path for folder in found.folders.values() for path in folder.rglob("*.png")]
    whole = {path: path.stat().st_mtime_ns for path in files}
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].unlink()
    again = copies(dataset, tmp_path / "node")
    assert contents(again) == contents(dataset)
    changed = {path for path in files if path.stat().st_mtime_ns != whole[path]}
    assert changed == set(files[:2])


def test_two_data_sets_do_not_share_copies(dataset: FileDataset, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = listed(grow(tmp_path / "other/insects", side=8))
    first, second = copies(dataset, tmp_path / "node"), copies(other, tmp_path / "node")
    assert not set(first.folders.values()) & set(second.folders.values())


def test_a_variable_is_that_of_the_node(
    dataset: FileDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH_OF_NODE", str(tmp_path / "node"))
    found = staged(dataset, "$SCRATCH_OF_NODE/images", nothing)
    assert isinstance(found, FileDataset)
    assert found.folders["train"].parent == tmp_path / "node/images"


@pytest.mark.parametrize("place", ["$NO_SUCH_VARIABLE/images", "$EMPTY", "copies"])
def test_a_place_has_to_be_somewhere(
    place: str, dataset: FileDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    told = rf"'stage_images' is '{re.escape(place)}', which is not an absolute path on this node"
    with pytest.raises(PerigeeError, match=told):
        staged(dataset, place, nothing)


def test_too_little_room_is_told_before_anything_is_copied(
    dataset: FileDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(PerigeeError, match=r"'stage_images': .* has no room for .* GB of images"):
        copies(dataset, tmp_path / "node")
    assert not list((tmp_path / "node").rglob("*.png"))


def test_an_image_that_is_gone_is_named(dataset: FileDataset, tmp_path: Path) -> None:
    gone = tmp_path / "insects/train/bee/03.png"
    gone.unlink()
    with pytest.raises(PerigeeError, match=r"insects/train/bee/03\.png cannot be read \(No such"):
        copies(dataset, tmp_path / "node")


def test_an_image_that_changed_is_named(dataset: FileDataset, tmp_path: Path) -> None:
    changed = tmp_path / "insects/val/cat/01.png"
    changed.write_bytes(changed.read_bytes() + b"more")
    for _ in range(2):
        with pytest.raises(PerigeeError, match=r"insects/val/cat/01\.png has \d+ bytes, but had"):
            copies(dataset, tmp_path / "node")


def test_a_place_that_cannot_be_written_is_named(dataset: FileDataset, tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file")
    with pytest.raises(PerigeeError, match=r"cannot be copied .*; name another folder as key"):
        copies(dataset, tmp_path / "node")


def test_told_to_stop_it_stops_and_goes_on(dataset: FileDataset, tmp_path: Path) -> None:
    left = iter(range(5))

    def stop() -> None:
        next(left)

    with pytest.raises(StopIteration):
        staged(dataset, str(tmp_path / "node"), stop)
    assert len(list((tmp_path / "node").rglob("*.png"))) == 5
    assert contents(copies(dataset, tmp_path / "node")) == contents(dataset)


def test_arrays_have_no_files(tmp_path: Path) -> None:
    digits = build_dataset(Digits(), tmp_path, download=False)
    assert staged(digits, str(tmp_path / "node"), nothing) is digits
    assert not (tmp_path / "node").exists()

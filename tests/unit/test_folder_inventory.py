"""All that is wrong with a folder of images is told at once, a sentence for each thing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from perigee.blocks.datasets import ImageFolder
from perigee.commands import build_dataset
from perigee.data import folder_inventory
from perigee.data.folder_inventory import in_full, inventory
from perigee.errors import PerigeeError
from support.streamed_runs import TRAIN_IMAGES, grow

BLOCK = ImageFolder(folder="insects", train_images=TRAIN_IMAGES, resolution=16)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    grow(tmp_path / "insects")
    return tmp_path


def test_of_a_sound_folder_nothing_is_told(sources: Path) -> None:
    (sources / "insects/train/.hidden").mkdir()
    (sources / "insects/train/ant/notes.txt").write_text("no image")
    assert inventory(BLOCK, sources) == []


def test_each_thing_has_a_sentence(sources: Path) -> None:
    root = sources / "insects"
    (root / "train/dog").mkdir()
    (root / "train/ant/more").mkdir()
    (root / "val/cat").rename(root / "val/wolf")
    (root / "val/bee/03.png").write_bytes(b"no image")
    (root / "val/bee/04.png").write_bytes(b"")
    told = inventory(BLOCK, sources)
    expected = [
        f"{root}/train/ant has a sub-folder, 'more'",
        f"{root}/train/dog has no images.",
        f"Class 'cat' is in {root}/train, but not in {root}/val.",
        f"Class 'dog' is in {root}/train, but not in {root}/val.",
        f"Class 'wolf' is in {root}/val, but not in {root}/train.",
        f"{root}/train has 36 images, but key 'train_images' is 61",
        f"{root}/val/bee/03.png is not a readable image",
        f"{root}/val/bee/04.png is not a readable image",
    ]
    assert len(told) == len(expected)
    for words in expected:
        assert [one for one in told if one.startswith(words)], words


def test_missing_splits_are_both_told(sources: Path) -> None:
    shutil.rmtree(sources / "insects/train")
    shutil.rmtree(sources / "insects/val")
    (sources / "insects/val").mkdir()
    train, val = inventory(BLOCK, sources)
    assert train == f"There is no folder {sources}/insects/train, for the images of a split."
    assert val.startswith(f"{sources}/insects/val has no sub-folders")
    assert len(inventory(BLOCK, sources / "nowhere")) == 2


def test_one_thing_is_told_in_the_words_of_building(sources: Path) -> None:
    error = PerigeeError("as it was")
    assert in_full(error, BLOCK, sources) is error
    shutil.rmtree(sources / "insects/val")
    assert in_full(error, BLOCK, sources) is error


def test_of_very_many_some_are_counted(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_inventory, "MOST", 2)
    for name in ("dog", "elk", "fox"):
        (sources / "insects/train" / name).mkdir()
    told = str(in_full(PerigeeError("as it was"), BLOCK, sources))
    assert "folder 'insects': 6 things have to be mended." in told
    assert told.endswith(" 4 more are not listed.")
    assert "fox has no images" not in told


def test_the_program_tells_all_of_it(sources: Path) -> None:
    shutil.rmtree(sources / "insects/val/bee")
    (sources / "insects/val/ant/00.png").write_bytes(b"no image")
    with pytest.raises(PerigeeError) as caught:
        build_dataset.main(json.dumps(BLOCK.to_dict()), sources / "out", sources)
    for words in (
        "2 things have to be mended",
        "Class 'bee' is in",
        "ant/00.png is not a readable",
    ):
        assert words in str(caught.value)
    assert not (sources / "out").exists()

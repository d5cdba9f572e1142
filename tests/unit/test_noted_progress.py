"""The note of a job in progress: there while it works, gone when it is done, kept if it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from perigee.progress import noted_in
from perigee.store.progress import PROGRESS, read_progress


def test_the_note_goes_when_the_work_is_done(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = run / "unfinished" / "e4"
    run.mkdir()
    with noted_in(folder, 4):
        assert read_progress(folder) is not None
    assert list(run.iterdir()) == []


def test_what_else_is_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished" / "e4"
    with noted_in(folder, 4):
        (folder / "latest.safetensors").touch()
    assert [path.name for path in folder.iterdir()] == ["latest.safetensors"]


def test_the_note_of_work_that_failed_stays(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished" / "e4"
    with pytest.raises(RuntimeError), noted_in(folder, 4):
        raise RuntimeError
    assert (folder / PROGRESS).is_file()


def test_a_folder_that_the_work_removed_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished" / "e4"
    with noted_in(folder, 4):
        (folder / PROGRESS).unlink()
        folder.rmdir()
    assert not folder.exists()

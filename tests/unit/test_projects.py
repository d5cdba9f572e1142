"""The folder that `perigee init` makes, and the version that it was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

import perigee
from perigee.commands import init
from perigee.configuration.settings import read_settings
from perigee.configuration.version import require_version, version_warning
from perigee.errors import PerigeeError
from perigee.paths import ROOT
from perigee.store.housekeeping import note_project, other_projects


def test_a_project_has_what_a_user_edits(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    init.main(folder)
    settings, ours = (read_settings([root / "config/config.yaml"]) for root in (folder, ROOT))
    assert settings == ours | {"perigee": perigee.__version__}
    for name in ("slurm/profile.yaml", "profiles/default/profile.yaml", "config/paper.yaml"):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert len((folder / "Snakefile").read_text().splitlines()) <= 25


def test_an_empty_folder_is_taken_and_any_other_refused(tmp_path: Path) -> None:
    init.main(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for folder in (tmp_path, tmp_path / "Snakefile"):
        with pytest.raises(PerigeeError, match="is not an empty folder; give the name"):
            init.main(folder)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(PerigeeError, match="cannot be made"):
        init.main(Path("/proc/project"))


@pytest.mark.parametrize(
    ("made_with", "installed", "refused", "warned"),
    [
        (None, "0.1.0", False, False),
        ("0.1.0", "0.1.0", False, False),
        ("0.1.0", "0.1.2", False, True),
        ("0.1.2", "0.1.0", False, True),
        ("0.1.0", "0.2.0", True, True),
        ("0.9.0", "1.0.0", True, True),
        ("1.2.0", "1.3.0", False, True),
        ("1.2.0", "2.0.0", True, True),
    ],
)
def test_a_project_of_another_version(
    made_with: str | None,
    installed: str,
    refused: bool,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(perigee, "__version__", installed)
    assert (version_warning(made_with) is not None) == warned
    if refused:
        with pytest.raises(PerigeeError, match=f"made with Perigee {made_with}, and {installed}"):
            require_version(made_with)
    else:
        require_version(made_with)


def test_projects_that_share_their_results_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "first/results"
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        note_project(Path("results") if name == "first" else results)
        note_project(Path("results") if name == "first" else results)
    assert other_projects(results) == [str(tmp_path / name) for name in ("first", "second")]
    (tmp_path / "first").rename(tmp_path / "copied")  # as if it had been copied away
    monkeypatch.chdir(tmp_path / "second")
    assert other_projects(tmp_path / "copied/results") == []

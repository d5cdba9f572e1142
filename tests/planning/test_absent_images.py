"""Figures whose images are not there: left out, except where they are asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from perigee.planning.absent_images import absent_images, tell_left_out
from perigee.planning.layout import Layout
from perigee.planning.plan import Plan, make_plan
from perigee.planning.status import figures_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(["smd"], "paper")


def test_only_figures_of_image_folders_lack_them(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = absent_images(plan.figures, tmp_path)
    assert [folder.path for folder in lacking["smd_fig3"]] == [tmp_path / "imagenet"]
    both = [tmp_path / "coco", tmp_path / "imagenet"]
    assert [folder.path for folder in lacking["smd_fig5"]] == both
    assert not {"smd_fig1", "smd_fig2", "smd_fig6", "smd_fig7"} & set(lacking)
    tell_left_out("smd", plan.figures, lacking)
    tell_left_out("smd_fig1", ["smd_fig1"], lacking)
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in told] == ["smd_fig3", "smd_fig4", "smd_fig5", "smd_fig5"]
    *of_imagenet, of_coco = [*told[:2], told[3], told[2]]
    assert all(str(tmp_path / "imagenet") in line for line in of_imagenet)
    assert f"{tmp_path / 'coco'}, which does not exist; make that folder, with the" in of_coco
    assert "train2017, val2017 and annotations, or a link to it (key 'data' of" in of_coco
    asked = (
        r"Error: smd_fig5 needs images in .*coco, .*\nError: smd_fig5 .*imagenet, which does not"
    )
    with pytest.raises(SystemExit, match=asked):
        tell_left_out("smd_fig5", ["smd_fig5"], lacking)


def test_none_lacks_them_where_they_are_or_are_not_needed(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    assert {"smd_fig5"} == set(absent_images(plan.figures, tmp_path))
    (tmp_path / "coco").mkdir()
    assert not absent_images(plan.figures, tmp_path)
    assert not absent_images(make_plan(["smd"], "laptop").figures, tmp_path / "nowhere")


def test_they_are_left_out_of_all_targets_but_their_own(plan: Plan, tmp_path: Path) -> None:
    layout = Layout(plan, str(tmp_path / "results"), str(tmp_path), writes=False)
    for name in ("everything", "all_figures", "smd"):
        assert not [path for path in layout.published(name) if "fig3" in path]
        assert "smd_fig3" not in figures_of(layout, [name])
    assert "smd_fig1" in layout.reported.figures
    assert "smd_fig3" not in layout.reported.figures
    assert figures_of(layout, ["smd_fig3"]) == ["smd_fig3"]


def test_a_plan_counts_them(plan: Plan, tmp_path: Path) -> None:
    """Their cost is known without the images."""
    layout = Layout(plan, str(tmp_path / "results"), writes=False)
    assert "smd_fig3" in figures_of(layout, ["all_figures"])

"""Figures that need a folder of images which a program cannot fetch: left out, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from support.workspace import Workspace

NEEDED = "smd_fig3"


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    return Workspace.clone(tmp_path / "clone")


def dry_run(workspace: Workspace, *targets: str) -> subprocess.CompletedProcess[str]:
    return workspace.snakemake(*targets, scale="paper", options=("-n",))


def images(folder: Path) -> None:
    """An ImageFolder of three classes, of far fewer images than ImageNet's."""
    for split in ("train", "val"):
        for number, name in enumerate(("ant", "bee", "wasp")):
            (folder / split / name).mkdir(parents=True)
            Image.new("RGB", (40, 40), (80 * number, 0, 0)).save(folder / split / name / "1.png")


def test_all_figures_but_those_are_made_and_each_is_told(clone: Workspace) -> None:
    for target in ("all_figures", "smd"):
        planned = dry_run(clone, target)
        assert planned.returncode == 0, planned.stdout
        assert planned.stdout.count(f"Left out: {NEEDED} needs images in data/imagenet") == 1
        assert "draw_figure smd_fig1" in planned.stdout
        assert planned.stdout.count("Left out: smd_fig5 needs images in data/coco") == 1
        assert f"draw_figure {NEEDED}" not in planned.stdout
        assert "draw_figure smd_fig5" not in planned.stdout


def test_asking_for_one_is_an_error(clone: Workspace) -> None:
    asked = dry_run(clone, NEEDED)
    assert asked.returncode != 0
    assert f"Error: {NEEDED} needs images in data/imagenet, which does not exist" in asked.stdout
    assert "Traceback" not in asked.stdout


def test_with_the_folder_it_is_planned_and_an_incomplete_one_refused(clone: Workspace) -> None:
    images(clone.root / "data/imagenet")
    planned = dry_run(clone, "smd")
    assert planned.returncode == 0, planned.stdout
    assert "Left out: smd_fig3" not in planned.stdout
    assert "Left out: smd_fig5 needs images in data/coco" in planned.stdout
    assert f"draw_figure {NEEDED}" in planned.stdout
    clone.edit_yaml("config/config.yaml", lambda c: c.update(papers=["smd"]))
    listed = clone.snakemake("data", scale="paper")
    assert listed.returncode != 0
    assert "'train_images' is 1281167, but" in listed.stdout
    assert "has 3 images" in listed.stdout


def test_asking_for_one_without_coco_is_an_error(clone: Workspace) -> None:
    images(clone.root / "data/imagenet")
    asked = dry_run(clone, "smd_fig5")
    assert asked.returncode != 0
    assert "Error: smd_fig5 needs images in data/coco, which does not exist" in asked.stdout
    assert "Traceback" not in asked.stdout

"""Workstation scale from the files of Fashion-MNIST to a figure, at a few steps on small files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from safetensors.numpy import load_file

from support.fashion_mnist import checksums, small_files, write_files
from support.workspace import Workspace, show_small_run

WIDTH = 2
EPOCHS = 2
TRAIN, TEST = 200, 40
STEPS = EPOCHS * 2
"""200 training images are a mini-batch of 128 and one of 72."""


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    workspace = Workspace.clone(tmp_path / "workspace")
    workspace.edit_paper(partial(show_small_run, width=WIDTH, epochs=EPOCHS), "workstation")
    made = small_files(TRAIN, TEST)
    workspace.hook("build_dataset", "small_fashion_mnist", checksums=checksums(made))
    return workspace


def test_from_the_files_to_the_figure(clone: Workspace) -> None:
    write_files(clone.root / "data/fashion_mnist", small_files(TRAIN, TEST))
    clone.make("periodic_fig3", scale="workstation")
    figures = clone.root / "results/workstation/figures"
    assert (figures / "periodic_fig3.pdf").read_bytes().startswith(b"%PDF")
    assert image.imread(figures / "periodic_fig3.png")[..., :3].std() > 0.01
    assert list(pd.read_csv(figures / "periodic_fig3.csv")["epoch"]) == list(range(EPOCHS + 1))
    stored = load_file(clone.store("dataset/fashion_mnist-*") / "data.safetensors")
    assert stored["train.images"].shape == (TRAIN, 1, 32, 32)
    assert stored["test.images"].shape == (TEST, 1, 32, 32)
    run = clone.store(f"run/convnet-fashion_mnist-lr0.01-*/e{EPOCHS}")
    assert len(np.load(run / "losses.npy")) == STEPS
    # Among the final weights, those of the first convolution: WIDTH x 1 grey channel x 3 x 3.
    shapes = [array.shape for array in load_file(run / "state.safetensors").values()]
    assert (WIDTH, 1, 3, 3) in shapes, shapes
    stamp = json.loads((run / "provenance.json").read_text())["spec"]
    assert stamp["dataset"] == {"name": "fashion_mnist"}


def test_offline_and_nothing_there(clone: Workspace) -> None:
    result = clone.run(
        "snakemake", "periodic_fig3", "--config", "scale=workstation", "download=False"
    )
    assert result.returncode != 0
    (sentence,) = [
        line for line in result.stdout.splitlines() if line.startswith("perigee build-dataset: ")
    ]
    assert "neither folder data/fashion_mnist (key 'data' of config/config.yaml) nor" in sentence
    assert "install the package or set 'download: true'" in sentence
    assert "Traceback" not in result.stdout


def test_all_figures_are_planned_but_those_of_imagenet_and_coco(tmp_path: Path) -> None:
    untouched = Workspace.clone(tmp_path / "workspace")
    result = untouched.snakemake("all_figures", scale="workstation", options=("-n",))
    assert result.returncode == 0, result.stdout
    for key in ("periodic_fig3", "regimes_fig5", "smd_fig6"):
        assert f"draw_figure {key}" in result.stdout
    left_out = [line for line in result.stdout.splitlines() if line.startswith("Left out: ")]
    assert {line.split()[2] for line in left_out} == {"smd_fig3", "smd_fig4", "smd_fig5"}

"""A folder of images, all the way to a figure, and one with an image that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from perigee.data.manifest import MANIFEST
from support.configuration import put
from support.streamed_runs import BATCH, TRAIN_IMAGES, grow
from support.workspace import Workspace

SCALE, FIGURE = "images", "smd_fig3"

OVERLAYS = {
    "scale": {"description": "A few small images.", "tests_claims": False, "seeds": 1},
    "smd/paper": {
        "runs": {
            "resnet50": {
                "dataset": {"folder": "insects", "train_images": TRAIN_IMAGES, "resolution": 16},
                "model": {"blocks": [1, 1, 1, 1], "width": 2, "stem": "small"},
                "batch_size": BATCH,
            }
        }
    },
    "smd/fig3": {"runs": {"sgd": {"epochs": 2}, "sgdm": {"epochs": 2}}},
}
"""A scale of one's own: the paper's data set, task and augmentation, on a smaller folder."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The figure, made of a folder of images with the commands of a user."""
    workspace = Workspace.clone(tmp_path_factory.mktemp("images") / "clone")
    for name, overlay in OVERLAYS.items():
        put(workspace.root / f"config/scales/{SCALE}/{name}.yaml", overlay)
    given = {"papers": ["smd"], "stage_images": str(workspace.root / "copies")}
    workspace.edit_yaml("config/config.yaml", lambda settings: settings.update(given))
    grow(workspace.root / "data/insects", side=20)
    workspace.make(FIGURE, scale=SCALE)
    return workspace


def test_the_figure_is_drawn_of_streamed_images(drawn: Workspace) -> None:
    figures = drawn.root / f"results/{SCALE}/figures"
    for suffix in ("pdf", "png", "csv", "ipynb"):
        assert (figures / f"{FIGURE}.{suffix}").stat().st_size > 0
    assert len((figures / f"{FIGURE}.csv").read_text().splitlines()) > 2 * 2 * 4
    manifest = json.loads((drawn.store("dataset/image_folder-*") / MANIFEST).read_text())
    assert manifest["kind"] == "files"
    assert manifest["splits"]["train"] == TRAIN_IMAGES
    told = [json.loads(path.read_text()) for path in drawn.root.glob("results/specs/run/**/*.json")]
    assert {spec["run"]["task"]["name"] for spec in told} == {"streamed_classification"}
    assert len(list((drawn.root / "copies").rglob("*.png"))) == sum(manifest["splits"].values())
    assert drawn.jobs(FIGURE, scale=SCALE) == set()


def test_an_image_that_cannot_be_read_is_named_before_anything_is_trained(
    drawn: Workspace, tmp_path: Path
) -> None:
    workspace = drawn.copy(tmp_path / "copy")
    shutil.rmtree(workspace.root / "results")
    spoilt = Path("data/insects/val/bee/03.png")  # a test split so small is decoded whole
    (workspace.root / spoilt).write_bytes(b"no image")
    failed = workspace.snakemake(FIGURE, scale=SCALE)
    assert failed.returncode != 0
    last = next(line for line in failed.stdout.splitlines() if line.startswith("failed: "))
    assert last.startswith("failed: perigee build-dataset: ")
    assert f"{spoilt} is not a readable image" in last
    assert "Traceback" not in failed.stdout
    assert not list(workspace.root.glob("results/store/run/*/e2"))

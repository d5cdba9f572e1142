"""Paper scale from the download of CIFAR-10 to a figure, at a few steps on small real files."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from safetensors.numpy import load_file

from support.workspace import Workspace, show_small_run

IMAGES_IN_A_FILE = 40
WIDTH = 2
EPOCHS = 2
STEPS = EPOCHS * 2
"""200 training images are a mini-batch of 128 and one of 72."""


@dataclass(frozen=True)
class Cifar:
    """A data set's files as torchvision knows them.

    Attributes:
        name: name of torchvision's class.
        archive: the archive to download.
        folder: the folder in the archive.
        train, test, meta: files in the folder.
        labels, label_names: keys in the files.
        classes: number of classes.
    """

    name: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    label_names: str
    classes: int


CIFAR_10 = Cifar(
    name="CIFAR10",
    archive="cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    label_names="label_names",
    classes=10,
)
CIFAR_100 = Cifar(
    name="CIFAR100",
    archive="cifar-100-python.tar.gz",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    labels="fine_labels",
    label_names="fine_label_names",
    classes=100,
)
ARCHIVE = CIFAR_10.archive


def write_archive(folder: Path, cifar: Cifar = CIFAR_10) -> dict[str, str]:
    """Small files of the real format; the checksums of the archive and of all that is in it."""
    generator = np.random.default_rng(0)
    images = {name: 5 * IMAGES_IN_A_FILE // len(cifar.train) for name in cifar.train}
    contents: dict[str, dict[str, Any]] = {
        name: {
            "data": generator.integers(0, 256, (count, 3072), dtype=np.uint8),
            cifar.labels: [position % cifar.classes for position in range(count)],
        }
        for name, count in {**images, cifar.test: IMAGES_IN_A_FILE}.items()
    }
    contents[cifar.meta] = {
        cifar.label_names: [f"class {number}" for number in range(cifar.classes)]
    }
    checksums = {}
    with tarfile.open(folder / cifar.archive, "w:gz") as archive:
        for name, content in contents.items():
            packed = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"{cifar.folder}/{name}")
            member.size = len(packed)
            archive.addfile(member, io.BytesIO(packed))
            checksums[name] = hashlib.md5(packed).hexdigest()
    checksums[cifar.archive] = hashlib.md5((folder / cifar.archive).read_bytes()).hexdigest()
    return checksums


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder's files."""
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def expect_small_files(
    workspace: Workspace, address: str, checksums: dict[str, str], cifar: Cifar = CIFAR_10
) -> None:
    """Give torchvision, in this workspace's jobs, the address and checksums of the small files."""
    workspace.hook(
        *("build_dataset", "small_cifar"),
        name=cifar.name,
        address=address,
        checksums=checksums,
        archive=cifar.archive,
        train=list(cifar.train),
        test=cifar.test,
        meta=cifar.meta,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    workspace = Workspace.clone(tmp_path / "workspace")
    workspace.edit_paper(partial(show_small_run, width=WIDTH, epochs=EPOCHS), "paper")
    return workspace


def test_from_the_download_to_the_figure(
    clone: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "mirror").mkdir()
    checksums = write_archive(tmp_path / "mirror")
    with served(tmp_path / "mirror") as address:
        expect_small_files(clone, address, checksums)
        clone.make("periodic_fig3", scale="paper")

    (log,) = clone.root.glob("results/logs/build_dataset/cifar10-*.1.log")
    assert f"{ARCHIVE}: downloading {address}/{ARCHIVE}" in log.read_text()
    assert [path.name for path in (clone.root / "data").iterdir()] == [ARCHIVE]

    figures = clone.root / "results/paper/figures"
    assert (figures / "periodic_fig3.pdf").read_bytes().startswith(b"%PDF")
    assert image.imread(figures / "periodic_fig3.png")[..., :3].std() > 0.01
    plotted = pd.read_csv(figures / "periodic_fig3.csv")
    assert list(plotted["epoch"]) == list(range(EPOCHS + 1))

    (dataset,) = clone.root.glob("results/store/dataset/cifar10-*")
    images = load_file(dataset / "data.safetensors")
    assert images["train.images"].shape == (5 * IMAGES_IN_A_FILE, 3, 32, 32)
    assert images["test.images"].shape == (IMAGES_IN_A_FILE, 3, 32, 32)
    (run,) = clone.root.glob(f"results/store/run/convnet-cifar10-lr0.01-*/e{EPOCHS}")
    provenance = json.loads((run / "provenance.json").read_text())
    assert dataset.name.endswith(provenance["inputs"]["dataset"])
    assert len(np.load(run / "losses.npy")) == STEPS
    # Among the final weights, those of the first convolution: WIDTH x 3 colours x 3 x 3.
    shapes = [array.shape for array in load_file(run / "state.safetensors").values()]
    assert (WIDTH, 3, 3, 3) in shapes, shapes

    # Whether downloading is allowed is no part of what a data set is.
    offline = clone.run(
        "snakemake", "-n", "periodic_fig3", "--config", "scale=paper", "download=False"
    )
    assert "Nothing to be done" in offline.stdout


def few_steps_of_fig6(study: dict[str, Any]) -> None:
    """The smallest networks, two epochs and two seeds at paper scale."""
    study["figures"] = {"fig6": study["figures"]["fig6"]}
    for name, width in (("si_convnet", WIDTH), ("si_resnet18", 1)):
        study["runs"][name]["model"]["width"] = width
    for runs in study["figures"]["fig6"]["runs"].values():
        runs["epochs"] = EPOCHS
        runs["sweep"]["seed"] = [10, 11]


def test_from_both_data_sets_to_similarity(tmp_path: Path) -> None:
    """CIFAR-100, a ResNet-18, its checkpoints' predictions, the figure."""
    clone = Workspace.clone(tmp_path / "workspace")
    clone.edit_paper(few_steps_of_fig6, "paper")
    (clone.root / "data").mkdir()
    for cifar in (CIFAR_10, CIFAR_100):
        expect_small_files(clone, "", write_archive(clone.root / "data", cifar), cifar)
    result = clone.run("snakemake", "periodic_fig6", "--config", "scale=paper", "download=False")
    assert result.returncode == 0, result.stdout
    plotted = pd.read_csv(clone.root / "results/paper/figures/periodic_fig6.csv")
    assert set(plotted["pair"]) == {"ConvNet", "ResNet"}
    anchors = plotted[plotted["epoch"] == plotted["anchor_epoch"]]
    assert list(anchors["cosine_similarity"]) == pytest.approx([1.0] * len(anchors))
    predictions = {
        path.parent.name.removeprefix("predictions-").partition("-cifar")[0]: np.load(path)
        for path in clone.root.glob("results/store/evaluation/*/predictions.npy")
    }
    # The initialisation and the end, every test image, a probability for each class.
    assert predictions["convnet"].shape == (2, IMAGES_IN_A_FILE, 10)
    assert predictions["resnet18"].shape == (2, IMAGES_IN_A_FILE, 100)
    assert predictions["resnet18"].sum(axis=2) == pytest.approx(1.0, rel=1e-5)


def test_offline_and_nothing_there(clone: Workspace) -> None:
    result = clone.run("snakemake", "periodic_fig3", "--config", "scale=paper", "download=False")
    assert result.returncode != 0
    (sentence,) = [
        line for line in result.stdout.splitlines() if line.startswith("perigee build-dataset: ")
    ]
    assert "folder data (key 'data' of config/config.yaml) holds neither" in sentence
    assert f"put {ARCHIVE} there or set 'download: true'" in sentence
    assert "Traceback" not in result.stdout


def test_a_truncated_archive(clone: Workspace, tmp_path: Path) -> None:
    archive = clone.root / "data" / ARCHIVE
    archive.parent.mkdir()
    write_archive(archive.parent)
    result = clone.by_hand(
        *("python", "-m", "perigee", "build-dataset", "--spec", '{"name": "cifar10"}'),
        *("--out", str(tmp_path / "out")),
    )
    assert result.returncode == 1
    (sentence,) = result.stdout.splitlines()
    assert f"data/{ARCHIVE} has a wrong checksum, so it is truncated or is another" in sentence
    assert not list((tmp_path / "out").glob("*"))

"""Streamed classification: the numbers of other tasks and ranks, nothing read in vain, refusals."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image
from torchvision.transforms import Normalize

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.augmentations.resized_crop_and_flip import ResizedCropAndFlip
from perigee.data.file_datasets import FileDataset
from perigee.data.image_folder import read_image
from perigee.data.order import epoch_order
from perigee.data.saving import AnyDataset, load_dataset, save_dataset
from perigee.data.transforms import CentreCrop
from perigee.errors import PerigeeError
from perigee.kernel.execution import prepare
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Trainer
from perigee.measures.metrics import Metrics
from perigee.spec import RunSpec
from perigee.training.loop import train
from perigee.training.recording import Recorder
from support.rank_processes import on_ranks
from support.streamed_runs import BATCH, EPOCHS, STEPS, TRAIN_IMAGES, grow, listed, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("data") / "insects")


@pytest.fixture(scope="module")
def dataset(root: Path) -> FileDataset:
    return listed(root)


@pytest.fixture(scope="module")
def product(dataset: FileDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    save_dataset(dataset, folder)
    return folder


@pytest.fixture
def own(root: Path, tmp_path: Path) -> FileDataset:
    """A data set whose files a test may spoil."""
    return listed(shutil.copytree(root, tmp_path / "own" / root.name))


# The same as others


@dataclass
class Trained:
    """The end of a run: its state, the losses of its steps, its metrics."""

    state: dict[str, np.ndarray]
    losses: np.ndarray
    metrics: dict[str, np.ndarray]

    def differs(self, other: Trained) -> float:
        """The largest difference to another run, as a share of its tensor's largest number."""
        pairs = [(self.losses, other.losses)]
        pairs += [(self.state[name], other.state[name]) for name in self.state]
        pairs += [(self.metrics[name], other.metrics[name]) for name in self.metrics]
        assert self.state.keys() == other.state.keys()
        return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1)) for a, b in pairs)


def trained(
    spec: RunSpec, dataset: AnyDataset, folder: Path, ranks: Ranks | None = None, workers: int = 0
) -> Trained:
    """The results of a run of two epochs."""
    execution = prepare("cpu", spec.precision, dataset.image_shape, workers)
    trainer = Trainer(spec, dataset, execution, ranks=ranks)
    recorder = Recorder(trainer, folder, {"metrics": Metrics(trainer)}, EPOCHS)
    train(trainer, recorder)
    recorder.close()
    is_main = trainer.ranks.is_main
    rows = {name: np.load(folder / f"{name}.npy") for name in ("metrics", "losses") if is_main}
    return Trained(
        {name: value.numpy() for name, value in trainer.state().items()},
        rows["losses"] if is_main else np.empty(0),
        {name: rows["metrics"][name] for name in rows["metrics"].dtype.names} if is_main else {},
    )


@pytest.mark.parametrize("gradient", ["mini_batch", "full_batch"])
def test_without_augmentation_it_is_the_task_on_arrays(gradient: str, tmp_path: Path) -> None:
    files = listed(grow(tmp_path / "data" / "insects", side=16), resize=16, label_noise=0.2)
    splits = {
        name: ArraySplit(
            np.stack(
                [
                    np.asarray(Image.open(files.folders[name] / split.path(n))).transpose(2, 0, 1)
                    for n in range(len(split))
                ]
            ),
            split.labels.astype(np.uint8),
        )
        for name, split in files.splits.items()
    }
    arrays = ArrayDataset(
        splits, 3, files.channel_means, files.channel_stds, "the pixels of the files"
    )
    plain = {"precision": "float64", "augmentation": {"name": "none"}, "gradient": gradient}
    (tmp_path / "files").mkdir()
    (tmp_path / "arrays").mkdir()
    streamed = trained(make_spec(**plain), files, tmp_path / "files", workers=1)
    on_device = trained(
        make_spec(**plain, task={"name": "classification"}, dataset={"name": "digits"}),
        arrays,
        tmp_path / "arrays",
    )
    assert len(streamed.losses) == EPOCHS * (STEPS if gradient == "mini_batch" else 1)
    assert streamed.differs(on_device) == 0


def train_on_ranks(ranks: Ranks, product: Path, folder: Path, workers: int) -> Trained:
    # Otherwise a process that ends with the test may have none of its own.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    own = folder / str(ranks.rank)
    own.mkdir()
    spec = make_spec(precision="float64")
    return trained(spec, load_dataset(product), own, ranks, workers)


def test_two_ranks_give_what_one_process_gives(
    dataset: FileDataset, product: Path, tmp_path: Path
) -> None:
    alone = trained(make_spec(precision="float64"), dataset, tmp_path)
    first, second = on_ranks(train_on_ranks, 2, product, tmp_path, 1)
    assert first.differs(alone) < 1e-10
    for name, value in first.state.items():
        assert np.array_equal(value, second.state[name]), name


@pytest.mark.parametrize("name", ["none", "resized_crop_and_flip"])
def test_every_epoch_has_its_own_augmentation(name: str, dataset: FileDataset) -> None:
    spec = make_spec(augmentation={"name": name}, precision="float64")
    trainer = Trainer(
        spec,
        dataset,
        prepare("cpu", "float64", dataset.image_shape),
        epoch_order=lambda _: np.arange(5, TRAIN_IMAGES),
    )
    train = dataset.splits["train"]
    image = read_image(dataset.folders["train"] / train.path(7))
    for epoch in (0, 1, 2):
        (batch,) = next(iter(trainer.task.training_steps(epoch, 0)))
        transforms = {
            "none": CentreCrop(resolution=16, resize=18),
            "resized_crop_and_flip": ResizedCropAndFlip(resolution=16, seed=3, epoch=epoch),
        }
        pixels = transforms[name](image, 7).double() / 255
        expected = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(pixels)
        torch.testing.assert_close(batch.inputs[2], expected, rtol=1e-12, atol=1e-12)
        assert batch.targets.tolist() == train.labels[5 : 5 + BATCH].tolist()


# Steps that are left out


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_read_for_steps_that_are_left_out(own: FileDataset, workers: int) -> None:
    execution = prepare("cpu", "float32", own.image_shape, workers)
    task = Trainer(make_spec(), own, execution).task
    whole = [batch for batches in task.training_steps(1, 0) for batch in batches]
    for number in epoch_order(TRAIN_IMAGES, 3, 1)[: 2 * BATCH]:
        (own.folders["train"] / own.splits["train"].path(number)).unlink()
    rest = [batch for batches in task.training_steps(1, 2) for batch in batches]
    assert [batch.count for batch in whole] == [16, 16, 16, 13]
    assert len(rest) == 2
    for batch, expected in zip(rest, whole[2:], strict=True):
        assert torch.equal(batch.inputs, expected.inputs)
        assert torch.equal(batch.targets, expected.targets)
        assert batch.inputs.is_contiguous(memory_format=torch.channels_last)


# Refusals


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"task": {"name": "classification"}, "augmentation": {"name": "none"}},
            "'task.name' is 'classification', which does not work on data set 'image_folder', "
            "whose images are kept as files; choose streamed_classification.",
        ),
        (
            {"dataset": {"name": "digits"}, "augmentation": {"name": "none"}},
            "'task.name' is 'streamed_classification'.* on data set 'digits', .* choose class",
        ),
        (
            {"augmentation": {"name": "crop_and_flip", "padding": 4, "flip": True}},
            "'augmentation.name' is 'crop_and_flip'.* choose none or resized_crop_and_flip.",
        ),
        (
            {"dataset": {"name": "digits"}, "task": {"name": "classification"}},
            "'augmentation.name' is 'resized_crop_and_flip'.* kept as arrays; choose crop_and_flip",
        ),
    ],
)
def test_blocks_that_do_not_fit_the_data_are_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(PerigeeError, match=told):
        make_spec(**changed)


def test_parameters_of_the_augmentation_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="Extra inputs"):
        make_spec(augmentation={"name": "resized_crop_and_flip", "padding": 4})


def test_a_data_set_of_the_other_kind_is_refused(dataset: FileDataset) -> None:
    pixels = np.zeros((4, 3, 16, 16), np.uint8)
    split = ArraySplit(pixels, np.zeros(4, np.uint8))
    arrays = ArrayDataset({"train": split, "test": split}, 3, (0,) * 3, (1,) * 3, "nothing")
    execution = prepare("cpu", "float32", (3, 16, 16))
    with pytest.raises(PerigeeError, match="consists of arrays; choose classification"):
        Trainer(make_spec(), arrays, execution)
    of_arrays = make_spec(
        dataset={"name": "digits"}, task={"name": "classification"}, augmentation={"name": "none"}
    )
    with pytest.raises(PerigeeError, match="consists of files; choose streamed_classification"):
        Trainer(of_arrays, dataset, execution)

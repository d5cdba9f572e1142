"""Streamed detection: what the network is given, workers, ranks, resumed bits, refusals."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perigee.blocks.measures import Layers, Metrics
from perigee.data.annotated_files import AnnotatedDataset
from perigee.data.augmentations.horizontal_flip import HorizontalFlip
from perigee.data.coco import read_sized_image
from perigee.data.order import epoch_order
from perigee.data.saving import load_dataset, save_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.identity.products import run_identity
from perigee.interruption import StopRequest
from perigee.jobs.training import TrainingJob
from perigee.kernel.execution import prepare
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Trainer
from perigee.measures.passes import TestPass, TrainPass
from perigee.models.detection_inputs import DetectionInputs
from perigee.spec import RunSpec
from perigee.tasks.streamed_detection import StreamedDetection, unpacked
from support.annotated_images import (
    BATCH,
    EPOCHS,
    SHAPES,
    STEPS,
    TRAIN_IMAGES,
    drawn,
    edit,
    make_spec,
)
from support.annotated_images import grow as grow_coco
from support.annotated_images import listed as listed_coco
from support.rank_processes import on_ranks

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    save_dataset(drawn(), folder)
    return folder


@pytest.fixture(scope="module")
def dataset(product: Path) -> AnnotatedDataset:
    loaded = load_dataset(product)
    assert isinstance(loaded, AnnotatedDataset)
    return loaded


def task_of(
    dataset: AnnotatedDataset, spec: RunSpec | None = None, workers: int = 0
) -> StreamedDetection:
    execution = prepare("cpu", "float32", dataset.image_shape, workers)
    return StreamedDetection(spec or make_spec(), dataset, execution, Ranks.alone())


def inputs_of(batch: Any) -> DetectionInputs:
    assert isinstance(batch.inputs, DetectionInputs)
    return batch.inputs


def assert_equal(one: DetectionInputs, other: DetectionInputs) -> None:
    assert torch.equal(one.images, other.images)
    assert (list(one.sizes), list(one.seeds)) == (list(other.sizes), list(other.seeds))
    for name in ("boxes", "categories", "masks"):
        for mine, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            assert torch.equal(mine, theirs), name


# What the network is given


def test_images_are_in_the_corner_of_a_canvas_for_all_with_their_objects(tmp_path: Path) -> None:
    dataset = listed_coco(grow_coco(tmp_path / "coco"), resize=40, longest_side=60)
    spec = make_spec(augmentation={"name": "none"})
    (batch,) = task_of(dataset, spec).batches("train")
    given = inputs_of(batch)
    assert given.sizes == [(40, 53), (53, 40), (40, 40)]
    assert given.images.shape == (3, 3, 64, 64)
    assert batch.count == 3
    for image, (height, width), level in zip(given.images, given.sizes, (0, 10, 40), strict=True):
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()
        red = (level / 255 - 0.485) / 0.229
        torch.testing.assert_close(image[0, :height, :width], torch.full((height, width), red))
    assert [one.tolist() for one in given.categories] == [[1, 2], [1], [1]]
    assert [mask.shape for mask in given.masks] == [(2, 64, 64), (1, 64, 64), (1, 64, 64)]
    for boxes, masks in zip(given.boxes, given.masks, strict=True):
        for (left, top, right, bottom), mask in zip(boxes.tolist(), masks, strict=True):
            rows, columns = torch.where(mask > 0)
            edges = (columns.min(), rows.min(), columns.max(), rows.max())
            for edge, expected in zip(edges, (left, top, right, bottom), strict=True):
                assert abs(edge.item() - expected) <= 1


def test_masks_are_packed_without_loss() -> None:
    masks = np.random.default_rng(0).random((3, 5, 16)) < 0.5
    found = unpacked(torch.from_numpy(np.packbits(masks, axis=2)))
    assert np.array_equal(found.numpy(), masks.astype(np.uint8))


def test_every_epoch_has_its_own_order_mirrors_and_seeds(dataset: AnnotatedDataset) -> None:
    task, split = task_of(dataset), dataset.splits["train"]
    seeds: set[int] = set()
    for epoch in (0, 1):
        steps = [batch for batches in task.training_steps(epoch, 0) for batch in batches]
        assert [batch.count for batch in steps] == [4, 4, 2]
        seeds |= {seed for batch in steps for seed in inputs_of(batch).seeds}
        number = int(epoch_order(TRAIN_IMAGES, 3, epoch)[5])
        path = dataset.folders["train"] / split.files.path(number)
        size = int(split.files.sizes[number])
        image = read_sized_image(path, size, split.image_sizes[number])
        expected = HorizontalFlip(32, 32, 3, epoch)(image, split.objects(number), number)
        given = inputs_of(steps[1])
        assert torch.equal(given.boxes[1], expected.boxes)
        assert np.array_equal(given.masks[1].numpy(), expected.masks.astype(np.uint8))
        assert torch.equal(given.categories[1], expected.categories + 1)
    assert len(seeds) == 2 * TRAIN_IMAGES
    first, second = (inputs_of(next(task.batches("test"))) for _ in range(2))
    assert_equal(first, second)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing_and_steps_left_out_are_not_read(
    workers: int, dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    whole = [batch for batches in task_of(dataset).training_steps(1, 0) for batch in batches]
    save_dataset(drawn(), tmp_path)
    own = load_dataset(tmp_path)
    assert isinstance(own, AnnotatedDataset)
    for number in epoch_order(TRAIN_IMAGES, 3, 1)[:BATCH]:
        (tmp_path / own.splits["train"].files.path(int(number))).unlink()
    task = task_of(own, workers=workers)
    rest = [batch for batches in task.training_steps(1, 1) for batch in batches]
    assert len(rest) == STEPS - 1
    for batch, expected in zip(rest, whole[1:], strict=True):
        assert_equal(inputs_of(batch), inputs_of(expected))
    with pytest.raises(PerigeeError, match=r"train2017_\d+\.png is not a readable image"):
        next(iter(task.training_steps(1, 0)))


def test_losses_and_misses_are_added_up_over_images(dataset: AnnotatedDataset) -> None:
    task = task_of(dataset)
    outputs = torch.tensor([[1.5, 0.5], [2.0, 0.25]])
    assert task.loss(outputs, outputs) == task.test_loss(outputs, outputs) == 3.5
    assert task.errors(outputs, outputs) == 0.75


def test_measures_pass_over_both_splits(dataset: AnnotatedDataset) -> None:
    trainer = Trainer(make_spec(), dataset, prepare("cpu", "float32", dataset.image_shape))
    loss, error, norm = TrainPass(trainer, "weights_gradient")(lambda: None)
    test_loss, test_error = TestPass(trainer)(lambda: None)
    assert min(loss, norm, test_loss) > 0
    assert 0 <= error <= 1
    assert 0 <= test_error <= 1


# Several processes, and stopped runs


def train_on_ranks(ranks: Ranks, product: Path) -> tuple[dict[str, np.ndarray], list[float]]:
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    loaded = load_dataset(product)
    assert isinstance(loaded, AnnotatedDataset)
    spec = make_spec(precision="float64")
    trainer = Trainer(spec, loaded, prepare("cpu", "float64", loaded.image_shape), ranks=ranks)
    losses = [float(trainer.loss) for e in (0, 1) for m in trainer.epoch(e) if m.name == "STEP"]
    return {name: value.numpy() for name, value in trainer.state().items()}, losses


def test_two_ranks_give_what_one_process_gives(tmp_path: Path) -> None:
    """Also where the last mini-batch has an image for one of them only."""
    save_dataset(drawn(train_images=9, side=64, resize=64, longest_side=64), tmp_path)
    state, losses = train_on_ranks(Ranks.alone(), tmp_path)
    first, second = on_ranks(train_on_ranks, 2, tmp_path)
    assert len(losses) == 2 * STEPS
    np.testing.assert_allclose(first[1], losses, rtol=1e-8)
    for name, value in state.items():
        size = np.abs(value).max() or 1
        assert np.abs(first[0][name] - value).max() <= 1e-7 * size, name
        assert np.array_equal(first[0][name], second[0][name]), name


@pytest.fixture(scope="module")
def make_job(product: Path) -> Callable[..., TrainingJob]:
    spec = make_spec()

    def job(out: Path, workers: int = 0) -> TrainingJob:
        return TrainingJob(
            identity=run_identity(spec, "0" * 16),
            spec=spec,
            epochs=EPOCHS,
            measures=(Metrics(), Layers()),
            dataset=product,
            out=out,
            device="cpu",
            progress_interval=3600,
            save_interval=3600,
            workers=workers,
        )

    return job


def files_of(out: Path) -> dict[str, bytes]:
    paths = (*out.glob("*.npy"), *out.glob("*.safetensors"), *out.glob("*/*.npy"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def uninterrupted(
    make_job: Callable[..., TrainingJob], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, bytes]:
    out = tmp_path_factory.mktemp("runs") / f"e{EPOCHS}"
    make_job(out).run(StopRequest())
    files = files_of(out)
    assert len(files) == 5
    return files


class AfterStep(StopRequest):
    """A stop request that comes after so many losses were recorded."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def __bool__(self) -> bool:
        self.left -= 1
        if not self.left:
            self.note(signal.SIGTERM)
        return super().__bool__()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_to_the_same_bits(
    workers: int,
    make_job: Callable[..., TrainingJob],
    uninterrupted: Mapping[str, bytes],
    tmp_path: Path,
) -> None:
    job = make_job(tmp_path / f"e{EPOCHS}", workers)
    # It looks after each mini-batch that it measures, after measuring, and after each step.
    measuring = STEPS + 1 + 1
    with pytest.raises(StoppedBySignalError, match="its state is saved"):
        job.run(AfterStep(2 * measuring + STEPS + 1))
    torch.manual_seed(99)
    job.run(StopRequest())
    assert files_of(job.out) == uninterrupted


# Refusals


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"task": {"name": "streamed_classification"}},
            "'task.name' is 'streamed_classification'.* kept as annotated_files; choose streamed_d",
        ),
        (
            {"augmentation": {"name": "resized_crop_and_flip"}},
            "'augmentation.name' is 'resized_crop.* choose horizontal_flip or none.",
        ),
        (
            {"model": {"name": "convnet", "width": 2, "scale_invariant": True}},
            "'model.name' is 'convnet', which does not fit task 'streamed_detection'; choose mask_",
        ),
        (
            {
                "dataset": {"name": "digits"},
                "task": {"name": "classification"},
                "augmentation": {"name": "none"},
            },
            "'model.name' is 'mask_rcnn', which does not fit task 'classification'; choose conv",
        ),
    ],
)
def test_blocks_that_do_not_fit_are_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(PerigeeError, match=told):
        make_spec(**changed)


def test_another_loss_is_refused(dataset: AnnotatedDataset) -> None:
    spec = make_spec(loss={"name": "cross_entropy", "label_smoothing": 0.1})
    with pytest.raises(PerigeeError, match=r"Key 'loss' is not the default.* leave it out"):
        task_of(dataset, spec)


def test_a_last_mini_batch_of_one_small_image_is_refused() -> None:
    dataset = drawn(train_images=9)
    with pytest.raises(PerigeeError, match=r"'batch_size' is 4, .* the last mini-batch has one"):
        Trainer(make_spec(), dataset, prepare("cpu", "float32", dataset.image_shape))


def test_a_data_set_without_objects_is_refused() -> None:
    execution = prepare("cpu", "float32", (3, 32, 32))
    with pytest.raises(PerigeeError, match="needs annotated objects, but the data set given has"):
        StreamedDetection(make_spec(), None, execution, Ranks.alone())  # type: ignore[arg-type]


def test_an_image_that_changed_its_size_ends_the_run(tmp_path: Path) -> None:
    root = grow_coco(tmp_path / "coco")
    dataset = listed_coco(root, resize=40, longest_side=60)
    edit(root, lambda told: None)  # what is listed is in the data set already
    (root / "train2017/001.png").write_bytes((root / "train2017/000.png").read_bytes())
    with pytest.raises(PerigeeError, match=r"001\.png has \d+ (bytes|x)"):
        list(task_of(dataset).batches("train"))


def test_the_shapes_of_the_tests_are_the_data_set(dataset: AnnotatedDataset) -> None:
    assert len(dataset.splits["train"]) == SHAPES["train_images"] == TRAIN_IMAGES

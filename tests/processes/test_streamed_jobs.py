"""Streamed runs that are interrupted, killed or lose an image resume to the same bits."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from perigee.blocks.measures import Metrics
from perigee.data.order import epoch_order
from perigee.data.saving import save_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.identity.products import run_identity
from perigee.interruption import StopRequest
from perigee.jobs.training import TrainingJob
from perigee.store.runs import unfinished_folder
from perigee.training.saved_state import read_states
from support.streamed_runs import BATCH, EPOCHS, STEPS, TRAIN_IMAGES, grow, listed, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("data") / "insects")


@pytest.fixture(scope="module")
def product(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    save_dataset(listed(root), folder)
    return folder


@pytest.fixture(scope="module")
def make_job(product: Path) -> Callable[..., TrainingJob]:
    spec = make_spec()
    job = TrainingJob(
        identity=run_identity(spec, "0" * 16),
        spec=spec,
        epochs=EPOCHS,
        measures=(Metrics(),),
        dataset=product,
        out=Path(),
        device="cpu",
        progress_interval=3600,
        save_interval=0,
    )
    return lambda out, **changed: replace(job, out=out, **changed)


@pytest.fixture(scope="module")
def uninterrupted(
    make_job: Callable[..., TrainingJob], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, bytes]:
    """The files of a run in one go, decoded by the process itself."""
    out = tmp_path_factory.mktemp("runs") / f"e{EPOCHS}"
    make_job(out).run(StopRequest())
    files = files_of(out)
    assert [name.rpartition("/")[2] for name in sorted(files)] == [
        "losses.npy",
        "rows.npy",
        "state.safetensors",
        "weights.npy",
    ]
    return files


def files_of(out: Path) -> dict[str, bytes]:
    """All files of a run and its measures but the provenance, which has times in it."""
    paths = (*out.glob("*.npy"), *out.glob("*.safetensors"), *out.glob("*/*.npy"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def position(job: TrainingJob) -> tuple[int, int]:
    """Epochs and further steps of the state that a job left."""
    state = next(read_states(unfinished_folder(job.out, job.out.name), job.identity.digest))
    return state.position.epoch, state.position.taken


class AtLook(StopRequest):
    """A stop request that acts when a job checks it for the n-th time."""

    def __init__(self, look: int, act: Callable[[StopRequest], None]) -> None:
        super().__init__()
        self.left, self.act = look, act

    def __bool__(self) -> bool:
        self.left -= 1
        if not self.left:
            self.act(self)
        return super().__bool__()


def look_after(epoch: int, taken: int) -> int:
    """The number of the check that follows a step.

    A job checks after every mini-batch that it measures (four for training, two of the test set),
    after measuring, and after every step.
    """
    measured = STEPS + 2 + 1
    return (epoch + 1) * measured + epoch * STEPS + taken


@pytest.mark.parametrize(("workers", "taken"), [(0, 2), (1, 2), (3, 2), (0, 0)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    workers: int,
    taken: int,
    make_job: Callable[..., TrainingJob],
    uninterrupted: Mapping[str, bytes],
    tmp_path: Path,
) -> None:
    job = make_job(tmp_path / f"e{EPOCHS}", workers=workers, save_interval=3600)
    stop = AtLook(look_after(1, taken), lambda request: request.note(signal.SIGTERM))
    with pytest.raises(StoppedBySignalError, match="its state is saved"):
        job.run(stop)
    assert position(job) == (1, taken)
    job.run(StopRequest())
    assert files_of(job.out) == uninterrupted


def train_until_killed(job: TrainingJob, look: int) -> None:
    job.run(AtLook(look, lambda _: os.kill(os.getpid(), signal.SIGKILL)))


def test_a_run_that_was_killed_goes_on_with_other_workers_to_the_same_bits(
    make_job: Callable[..., TrainingJob], uninterrupted: Mapping[str, bytes], tmp_path: Path
) -> None:
    job = make_job(tmp_path / f"e{EPOCHS}", workers=3)
    arguments = (job, look_after(0, 3))
    process = multiprocessing.get_context("fork").Process(target=train_until_killed, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert position(job) == (0, 2)  # it had no time to save the third step
    replace(job, workers=1).run(StopRequest())
    assert files_of(job.out) == uninterrupted


@pytest.mark.parametrize("damage", ["unreadable", "another"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_spoilt_meanwhile_ends_the_run_which_then_goes_on(
    damage: str,
    workers: int,
    root: Path,
    make_job: Callable[..., TrainingJob],
    uninterrupted: Mapping[str, bytes],
    tmp_path: Path,
) -> None:
    own = listed(shutil.copytree(root, tmp_path / "own" / root.name))
    folder = tmp_path / "product"
    folder.mkdir()
    save_dataset(own, folder)
    job = make_job(tmp_path / f"e{EPOCHS}", dataset=folder, workers=workers)
    number = epoch_order(TRAIN_IMAGES, job.spec.seed, 0)[2 * BATCH + 5]
    path = own.folders["train"] / own.splits["train"].path(number)
    sound = path.read_bytes()

    def spoil(request: StopRequest) -> None:
        if damage == "unreadable":
            path.write_bytes(sound[: len(sound) // 2])
        else:
            Image.new("RGB", (40, 30)).save(path)

    with pytest.raises(PerigeeError, match=f"^{path} (is not a readable image|has [0-9]* bytes, )"):
        job.run(AtLook(look_after(0, 0), spoil))
    assert position(job) == (0, 2)
    path.write_bytes(sound)
    job.run(StopRequest())
    assert files_of(job.out) == uninterrupted

"""Batches decoded from files: the same bits whoever decodes them, in order, and not too many."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from torchvision.transforms import functional as reference

from perigee.data.augmentations.resized_crop_and_flip import ResizedCropAndFlip, random_box
from perigee.data.image_folder import list_split, read_image
from perigee.data.transforms import CentreCrop
from perigee.errors import PerigeeError
from perigee.tasks.streaming import StreamedSplit

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

COUNTS = {"one": 17, "three": 5, "two": 11}
IMAGES = sum(COUNTS.values())
BATCH = 4
CROP = ResizedCropAndFlip(resolution=10, seed=3, epoch=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of different sizes and shapes, in colours, in three classes of uneven counts."""
    root = tmp_path_factory.mktemp("split")
    digits = iter(load_digits().images)
    draws = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (root / name).mkdir()
        for number in range(count):
            colours = next(digits)[..., None] * draws.uniform(0, 15, 3)
            image = Image.fromarray(colours.astype(np.uint8))
            width, height = (int(side) for side in draws.integers(12, 40, 2))
            image.resize((width, height)).save(root / name / f"{number:02}.jpg")
    return root


@pytest.fixture(scope="module")
def make(root: Path) -> Callable[..., StreamedSplit]:
    split = list_split(root)
    return lambda **execution: StreamedSplit(split, root, **execution)


def shuffled_batches(size: int = BATCH) -> list[np.ndarray]:
    order = np.random.default_rng(1).permutation(IMAGES)
    return np.split(order, range(size, IMAGES, size))


def all_of(batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def assert_equal(ones, others) -> None:
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("transform", [CROP, CentreCrop(resolution=10, resize=12)])
def test_batches_are_the_images_in_the_order_given(root: Path, make, workers, transform) -> None:
    streamed = make(workers=workers)
    batches = list(streamed.batches(shuffled_batches(), transform))
    assert len(streamed) == IMAGES
    assert [len(labels) for _, labels in batches] == [4] * 8 + [1]
    files = sorted(root.glob("*/*"))
    order = np.random.default_rng(1).permutation(IMAGES)
    expected = [transform(Image.open(files[number]).convert("RGB"), number) for number in order]
    images, labels = all_of(batches)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(images, torch.stack(expected))
    names = sorted(COUNTS)
    assert labels.tolist() == [names.index(files[number].parent.name) for number in order]


@pytest.mark.parametrize("workers", [0, 2])
def test_half_a_run_is_half_of_a_whole_run(make, workers: int) -> None:
    streamed = make(workers=workers)
    whole = list(streamed.batches(shuffled_batches(), CROP))
    half = list(streamed.batches(shuffled_batches()[4:], CROP))
    assert_equal(all_of(whole[4:]), all_of(half))


def test_shares_of_ranks_are_the_whole_together(make) -> None:
    streamed = make()
    whole = list(streamed.batches(shuffled_batches(), CROP))
    ranks = [
        list(streamed.batches([np.array_split(b, 3)[rank] for b in shuffled_batches()], CROP))
        for rank in range(3)
    ]
    for batch, *shares in zip(whole, *ranks, strict=True):
        assert_equal(batch, all_of(shares))
    assert [len(shares[-1][1]) for shares in ranks] == [1, 0, 0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_may_be_empty(make, workers: int) -> None:
    indices = [np.array([], dtype=np.int64), np.array([2]), np.array([], dtype=np.int64)]
    batches = list(make(workers=workers).batches(indices, CROP))
    assert [tuple(images.shape) for images, _ in batches] == [(n, 3, 10, 10) for n in (0, 1, 0)]
    assert [labels.dtype for _, labels in batches] == [torch.int64] * 3
    assert list(make(workers=workers).batches([], CROP)) == []


def test_random_numbers_do_not_depend_on_the_batches(make) -> None:
    by_four = all_of(make().batches(shuffled_batches(), CROP))
    by_seven = all_of(make().batches(shuffled_batches(7), CROP))
    assert_equal(by_four, by_seven)


def test_random_numbers_depend_on_seed_epoch_and_image(root: Path) -> None:
    image = read_image(root / "one" / "00.jpg")
    made = [
        ResizedCropAndFlip(10, seed, epoch)(image, number)
        for seed, epoch, number in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    assert len({images.numpy().tobytes() for images in made}) == 4


def test_the_process_keeps_its_own_random_numbers(make) -> None:
    before = torch.get_rng_state()
    all_of(make(workers=1).batches(shuffled_batches(), CROP))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_crop_is_the_documented_one(root: Path) -> None:
    """It agrees with numbers drawn here, the documented formula and torchvision's own crop."""
    flips = 0
    for number, path in enumerate(sorted(root.glob("*/*"))):
        image = Image.open(path).convert("RGB")
        width, height = image.size
        source = np.random.SeedSequence((3, 5, number), spawn_key=(2,))
        draws = np.random.Generator(np.random.Philox(source))
        flipped = draws.random() < 0.5
        while True:
            area = (0.08 + 0.92 * draws.random()) * width * height
            aspect = (3 / 4) * (16 / 9) ** draws.random()
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if w <= width and h <= height:
                break
        left, top = draws.integers(0, width - w + 1), draws.integers(0, height - h + 1)
        expected = reference.resized_crop(
            image, int(top), int(left), h, w, [10, 10], InterpolationMode.BILINEAR
        )
        expected = reference.hflip(expected) if flipped else expected
        flips += flipped
        assert torch.equal(CROP(image, number), reference.pil_to_tensor(expected))
    assert 0 < flips < IMAGES


def test_boxes_have_the_documented_distribution() -> None:
    boxes = [random_box(1000, 1000, np.random.default_rng(seed)) for seed in range(2000)]
    left, top, right, bottom = np.array(boxes, dtype=float).T
    areas = (right - left) * (bottom - top) / 1e6
    ratios = (right - left) / (bottom - top)
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 1000
    assert bottom.max() <= 1000
    assert 0.079 < areas.min() < 0.09
    assert 0.74 < ratios.min() < 0.76
    assert 1.32 < ratios.max() < 1.34
    # Symmetric; four standard errors of the mean of 2000 draws of log-ratio and centre.
    assert abs(np.log(ratios).mean()) < 4 * math.log(4 / 3) / math.sqrt(3 * 2000)
    assert abs((left + right).mean() / 2 - 500) < 4 * (left + right).std() / 2 / math.sqrt(2000)


@pytest.mark.parametrize(
    ("size", "box"),
    # No crop of these fits: the largest centred part, 4:3 or 3:4, worked out by hand.
    [((1000, 10), (493, 0, 506, 10)), ((10, 1000), (0, 493, 10, 506))],
)
def test_an_elongated_image_is_cropped_in_its_centre(size, box) -> None:
    assert random_box(*size, np.random.default_rng(0)) == box


@pytest.mark.parametrize(("resolution", "resize"), [(10, 12), (9, 12), (12, 12), (30, 64)])
def test_the_centre_crop_is_torchvisions(root: Path, resolution: int, resize: int) -> None:
    for path in sorted(root.glob("*/*")):
        image = Image.open(path).convert("RGB")
        expected = CenterCrop(resolution)(Resize(resize)(image))
        made = CentreCrop(resolution, resize)(image, 0)
        assert torch.equal(made, reference.pil_to_tensor(expected))


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(PerigeeError, match=r"'resize' is 20, less than 'resolution', 24; .* raise"):
        CentreCrop(resolution=24, resize=20)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named(root: Path, tmp_path: Path, workers: int) -> None:
    for path in sorted(root.glob("*/*")):
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    split = list_split(tmp_path)
    broken = tmp_path / split.path(10)
    broken.write_bytes(b"no image")
    batches = StreamedSplit(split, tmp_path, workers=workers).batches(
        np.split(np.arange(IMAGES), range(4, IMAGES, 4)), CROP
    )
    assert_equal(next(batches)[1:], [torch.tensor([0, 0, 0, 0])])
    next(batches)
    with pytest.raises(PerigeeError) as caught:
        next(batches)
    assert type(caught.value) is PerigeeError
    assert str(caught.value) == (
        f"{broken} is not a readable image (its content is none of JPEG, PNG, WEBP, BMP); put a "
        "sound copy in its place, or remove it and have the folder listed anew."
    )


@dataclass(frozen=True)
class Logged:
    """A transform that notes the number of every image, one line each."""

    log: Path
    resolution: int = 10

    def __call__(self, image: Image.Image, image_number: int) -> torch.Tensor:
        with self.log.open("a") as file:
            file.write(f"{image_number}\n")
        return torch.zeros((3, 10, 10), dtype=torch.uint8)

    def numbers(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines()]


def settled(transform: Logged, expected: int) -> int:
    """How many images have been decoded some time after as many as expected have been."""
    patience = time.monotonic() + 20
    while len(transform.numbers()) < expected and time.monotonic() < patience:
        time.sleep(0.05)
    time.sleep(0.2)
    return len(transform.numbers())


@pytest.mark.parametrize(("workers", "prefetch"), [(0, 2), (1, 1), (2, 2)])
def test_decoding_is_not_far_ahead_of_use(make, tmp_path, workers: int, prefetch: int) -> None:
    transform = Logged(tmp_path / "log")
    indices = [np.array([number]) for number in range(IMAGES)]
    batches = make(workers=workers, prefetch=prefetch).batches(indices, transform)
    for used in range(1, 4):
        next(batches)
        expected = used + workers * prefetch
        assert settled(transform, expected) == expected
    batches.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_left_out_is_not_decoded(make, tmp_path: Path, workers: int) -> None:
    transform = Logged(tmp_path / "log")
    left = shuffled_batches()[4:]
    all_of(make(workers=workers).batches(left, transform))
    assert sorted(transform.numbers()) == sorted(np.concatenate(left))


@dataclass(frozen=True)
class Threads:
    """A transform whose pixels say how many threads its process computes with."""

    resolution: int = 1

    def __call__(self, image: Image.Image, image_number: int) -> torch.Tensor:
        return torch.full((3, 1, 1), torch.get_num_threads(), dtype=torch.uint8)


def test_workers_have_one_thread(make) -> None:
    torch.set_num_threads(2)
    try:
        images, _ = next(make(workers=1).batches(shuffled_batches(), Threads()))
        assert images.unique().tolist() == [1]
    finally:
        torch.set_num_threads(1)


def test_closed_batches_leave_no_processes(make) -> None:
    before = psutil.Process().children()
    batches = make(workers=2).batches(shuffled_batches(), CROP)
    next(batches)
    assert len(psutil.Process().children()) == len(before) + 2
    batches.close()
    assert psutil.Process().children() == before


PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np
import torch.utils.data._utils.worker as worker

worker.MP_STATUS_CHECK_INTERVAL = 0.2  # Seconds between looks at whether the parent lives.
from perigee.data.image_folder import list_split
from perigee.data.transforms import CentreCrop
from perigee.interruption import stop_request
from perigee.tasks.streaming import StreamedSplit

root = Path(sys.argv[1])
streamed = StreamedSplit(list_split(root), root, workers=1)
indices = [np.array([number]) for number in range(33)]
used = streamed.batches(indices, CentreCrop(8, 8))
left = streamed.batches(indices, CentreCrop(8, 8))
next(used), next(left)
with stop_request() as request:
    print("started", flush=True)
    while not request:
        time.sleep(0.05)
    print("used after the signal:", sum(1 for _ in used), flush=True)
"""


@pytest.fixture
def start(root: Path):
    """A program in a process group of its own, and its two workers."""

    def start() -> tuple[subprocess.Popen, list[psutil.Process]]:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, root],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programs.append(program)
        assert program.stdout.readline() == "started\n"
        workers = psutil.Process(program.pid).children()
        assert len(workers) == 2
        return program, workers

    programs: list[subprocess.Popen] = []
    yield start
    for program in programs:
        program.kill()
        program.communicate()


def test_workers_outlive_signals_to_all_but_not_the_program(start) -> None:
    program, workers = start()
    os.killpg(program.pid, signal.SIGINT)
    os.killpg(program.pid, signal.SIGTERM)
    assert program.communicate(timeout=30) == ("used after the signal: 32\n", None)
    assert program.returncode == 0
    assert psutil.wait_procs(workers, timeout=0)[1] == []


def test_workers_end_when_the_program_is_killed(start) -> None:
    program, workers = start()
    program.kill()
    assert psutil.wait_procs(workers, timeout=10)[1] == []

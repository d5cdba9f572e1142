"""The host's time between two epochs of a run on a GPU: it draws order and augmentation.

Both are drawn by NumPy for the whole epoch, and put on the device. Timed are the draws for 50,000
images on a core of this machine, without the copy to the device, against the steps of the epoch:
391, each of the time of the fastest captured step of the papers' networks in TF32 on an H200, whose
algorithms were not chosen by a benchmark (benchmarks/results/gpu/).

    python benchmarks/epoch_draws.py
"""

from __future__ import annotations

import json
from functools import partial

import torch
from common import RESULTS, Report, Summary, Target, main, timed_alternately

from perigee.data.augmentations.crop_and_flip import CropAndFlip
from perigee.data.order import epoch_order, steps_per_epoch

IMAGES, BATCH, SEED, PADDING = 50_000, 128, 100, 4
PLAIN, FASTEST = "h200_plain_pytorch.json", "graph, channels_last, tf32"
ORDER, AUGMENTATION = "order: ms per epoch", "crops and flips: ms per epoch"
SHARE = "both / the steps of an epoch"


def measure(repetitions: int) -> Report:
    measured = json.loads((RESULTS / "gpu" / PLAIN).read_bytes())["ms per step"]
    step = min(of_network[FASTEST]["median"] for of_network in measured.values())
    steps = steps_per_epoch(IMAGES, BATCH, "mini_batch")
    augmentation = CropAndFlip(IMAGES, SEED, torch.zeros(3, 1, 1), padding=PADDING, flip=True)
    ways = {ORDER: partial(epoch_order, IMAGES, SEED), AUGMENTATION: augmentation.begin_epoch}
    seconds = timed_alternately(ways, repetitions, warm_up=3)
    found = {name: [1000 * one for one in draws] for name, draws in seconds.items()}
    both = [sum(pair) / (steps * step) for pair in zip(*found.values(), strict=True)]
    return Report(
        figures={SHARE: Summary.of(both), **{name: Summary.of(one) for name, one in found.items()}},
        target=Target(SHARE, "<=", 0.02),
        conditions={"images": IMAGES, "steps": steps, "ms per step": step},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=100, measure=measure)

"""Whole kinds of runs, timed with their measures as `snakemake calibrate` does, on images of noise.

The kinds are those of a paper, planned beforehand with Perigee's environment; timing them needs
neither that nor the data sets, on whose images the times do not depend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from card.runs import Size, random_images
from perigee import registry
from perigee.interruption import StopRequest
from perigee.jobs.calibrating import timed
from perigee.spec import RunSpec

PAPER, SCALE = "periodic", "paper"
IMAGES = {"cifar10": ((3, 32, 32), 10), "cifar100": ((3, 32, 32), 100)}
"""The shape of images and the number of classes, which plans do not know, of the data sets of
`PAPER` at `SCALE`."""
TEST_IMAGES = 10000
"""The number of test images in each of these."""

Kind = Mapping[str, Any]


def prepare(path: Path) -> None:
    """Write the kinds of runs of the paper, those of most steps first."""
    from perigee.planning.kinds import kinds_of
    from perigee.planning.plan import make_plan

    found = kinds_of(make_plan([PAPER], SCALE).of_papers.runs.values())
    found.sort(key=lambda kind: -kind.steps)
    kinds = []
    for number, kind in enumerate(found, start=1):
        told = kind.told(Path())
        del told["dataset"]
        dataset = kind.run.spec.dataset
        shape, classes = IMAGES[dataset.name]
        images = {"train": dataset.train_images, "test": TEST_IMAGES}
        # Kinds may share the name of the run that stands for them.
        name = f"{number:02d} {told['name']}"
        kinds.append({**told, "name": name, "shape": shape, "classes": classes, **images})
    content = {"paper": PAPER, "scale": SCALE, "kinds": kinds}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def times(kind: Kind, device: str, size: Size) -> dict[str, Any]:
    """The times of a step and of a pass of all measures, with the run and the measures.

    Where steps cannot be captured, they are those of a run that was not captured, as it would be.

    Args:
        kind: one of those that `prepare` wrote.
        device: where to compute.
        size: for how long steps are timed, and of how many images at most.
    """
    spec = RunSpec.from_dict(kind["run"])
    train, test = min(kind["train"], size.train), min(kind["test"], size.test)
    found = timed(
        spec,
        random_images(train, test, tuple(kind["shape"]), kind["classes"]),
        [registry.make("measure", one) for one in kind["measures"]],
        device=device,
        workers=0,
        seconds=size.seconds,
        stop=StopRequest(),
    )
    return {
        "ms per step": float(f"{1000 * found.seconds_per_step:.5g}"),
        "s per pass": float(f"{found.seconds_per_pass:.5g}"),
        "steps per epoch": found.steps_per_epoch,
        "timed steps": found.steps,
        "run": spec.to_dict(),
        "measures": kind["measures"],
        "runs": kind["runs"],
    }

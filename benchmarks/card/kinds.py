"""Whole kinds of runs, timed with their measures as `snakemake calibrate` does, on images of noise.

The kinds are those of a paper, planned beforehand by `gpu_kit.py`; timing them needs neither
Perigee's environment nor the data sets, on whose images the times do not depend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from card.runs import Size, random_images
from perigee import registry
from perigee.interruption import StopRequest
from perigee.jobs.calibrating import timed
from perigee.spec import RunSpec

Kind = Mapping[str, Any]


def times(kind: Kind, device: str, size: Size) -> dict[str, Any]:
    """The times of a step and of a pass of all measures, with the run and the measures.

    Where steps cannot be captured, they are those of a run that was not captured, as it would be.

    Args:
        kind: one of those of `gpu_kit.kinds`.
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

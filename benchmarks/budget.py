"""The time of figures from nothing, against that of their training steps alone.

A target is made with all cores in a temporary copy of the repository. Its time is compared with the
steps of all its runs, each as long as a bare step of the same network on the same data and in
batches of the same size, divided by the cores. Bare steps are measured before and after with as
many processes as there are cores, so that a machine that is busy slows both.

    python benchmarks/budget.py --target periodic_fig3 --seeds 3
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from common import Report, Summary, Target, main
from dry_run import copy_repository, snakemake
from training_step import BareLoop

from perigee.data.arrays import ArrayDataset
from perigee.data.building import build_dataset
from perigee.identity.canonical import canonical_json
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Trainer
from perigee.planning.plan import make_plan
from perigee.planning.products import RunProduct
from perigee.spec import RunSpec

LIMIT = 1.25
EPOCHS = 3
"""The number of epochs over which a bare step is measured, after one that is not."""


def kind_of(run: RunSpec) -> str:
    """Return what the time of a bare step depends on."""
    return canonical_json(
        {
            "dataset": run.dataset.to_dict(),
            "model": run.model.to_dict(),
            "batch_size": run.batch_size,
            "precision": run.precision,
        }
    )


def bare_step(run: RunSpec) -> float:
    """The median time of a bare step over some epochs, in seconds.

    Of images that stay files it is the library's own step, with their reading.
    """
    dataset = build_dataset(run.dataset, Path("data"), download=False)
    trainer = Trainer(run, dataset, prepare("cpu", run.precision, dataset.image_shape))
    if isinstance(dataset, ArrayDataset):
        one_epoch = BareLoop(run, dataset, trainer).unlogged_epoch
    else:
        one_epoch = partial(epoch_of_library, trainer)
    seconds = []
    for epoch in range(1 + EPOCHS):
        start = time.perf_counter()
        one_epoch(epoch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) / trainer.task.steps_per_epoch


def epoch_of_library(trainer: Trainer, epoch: int) -> None:
    for _ in trainer.epoch(epoch):
        pass


def bare_steps(kinds: dict[str, RunSpec], cores: int) -> dict[str, float]:
    """The time of a bare step by kind, in seconds, while every core is busy with the same."""
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as processes:
        found = {}
        for kind, run in kinds.items():
            found[kind] = statistics.mean(processes.map(bare_step, [run] * cores))
    return found


def steps_of(runs: list[RunProduct]) -> dict[str, int]:
    """The steps that are trained, by kind of run; a run that is continued counts once."""
    longest: dict[str, RunProduct] = {}
    for run in runs:
        known = longest.get(run.identity.digest)
        if known is None or known.epochs < run.epochs:
            longest[run.identity.digest] = run
    steps: dict[str, int] = {}
    for run in longest.values():
        kind = kind_of(run.spec)
        steps[kind] = steps.get(kind, 0) + run.epochs * run.steps_per_epoch
    return steps


def measure(repetitions: int, target: str, seeds: int) -> Report:
    cores = len(os.sched_getaffinity(0))
    plan = make_plan(["periodic", "regimes", "smd"], "laptop", seeds)
    keys = [key for key in plan.figures if key == target or key.startswith(f"{target}_")]
    runs = list(plan.of_figures(keys or [target]).runs.values())
    steps, kinds = steps_of(runs), {kind_of(run.spec): run.spec for run in runs}
    ratios, elapsed, bare = [], [], []
    for _ in range(repetitions):
        before = bare_steps(kinds, cores)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_repository(folder)
            start = time.perf_counter()
            given = ["--cores", str(cores), "--config", "scale=laptop", f"seeds={seeds}"]
            snakemake(folder, [target, *given])
            elapsed.append(time.perf_counter() - start)
        after = bare_steps(kinds, cores)
        least = sum(n * (before[k] + after[k]) / 2 for k, n in steps.items()) / cores
        ratios.append(elapsed[-1] / least)
        bare += [1000 * (before[k] + after[k]) / 2 for k in steps]
    return Report(
        figures={
            "elapsed / bare steps": Summary.of(ratios),
            "elapsed: s": Summary.of(elapsed),
            "bare step, over kinds of runs: ms": Summary.of(bare),
        },
        target=Target("elapsed / bare steps", "<=", LIMIT),
        conditions={
            "target": target,
            "seeds": seeds,
            "cores": cores,
            "runs": len(runs),
            "steps": [{**json.loads(kind), "steps": n} for kind, n in steps.items()],
        },
    )


if __name__ == "__main__":
    main(
        __doc__ or "",
        repetitions=1,
        measure=measure,
        options={"target": ("periodic_fig3", "a figure or a paper"), "seeds": (3, "judged seeds")},
    )

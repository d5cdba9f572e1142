"""The extra time of a dry run for a figure of 1,000 runs over one of 10.

Each study has one figure, periodic_fig3, with 10 learning rates and 1 or 100 seeds at every scale,
in a temporary copy of the repository's files. Once all runs are still to be trained, once all
products lie in the store (small files in the place of real ones: a dry run looks whether they are
there). `--quiet all` leaves out what Snakemake prints of each job.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from unittest import mock

import yaml
from common import Report, Summary, Target, main, timed_alternately
from dry_run import NOTHING_TO_DO, copy_repository, snakemake

from perigee.identity.products import Identity
from perigee.planning.plan import make_plan
from perigee.planning.products import Product, RunProduct
from perigee.store.figures import publish
from perigee.store.provenance import PROVENANCE
from perigee.store.runs import MEASURE_FILES, RUN_FILES
from perigee.store.writing import product_writer

MANY, FEW = 1000, 10
RATES = [0.01 * (i + 1) for i in range(FEW)]
FIGURE, SCALE, EPOCHS = "periodic_fig3", "smoke", 4
ARGUMENTS = ("-n", FIGURE, "--config", f"scale={SCALE}", "papers=[periodic]")
TO_TRAIN, STORED, QUIET = "to be trained", "all in the store", "to be trained, --quiet all"


def set_runs(folder: Path, runs: int) -> None:
    """Leave one figure in the paper, with that many runs."""
    paper = folder / "config/papers/periodic"
    for path in (
        *(path for path in paper.glob("fig*.yaml") if path.stem != "fig3"),
        *(paper / "claims").iterdir(),
        *folder.glob("config/scales/*/periodic/fig*.yaml"),
    ):
        path.unlink()
    figure = yaml.safe_load((paper / "fig3.yaml").read_text(encoding="utf-8"))
    figure["runs"]["rates"] |= {
        "epochs": EPOCHS,
        "sweep": {"optimiser.learning_rate": RATES, "seed": list(range(runs // len(RATES)))},
    }
    (paper / "fig3.yaml").write_text(yaml.safe_dump(figure, sort_keys=False), encoding="utf-8")


def fill_store(folder: Path) -> None:
    """Put small files in the place of every product, and publish the figure."""
    with mock.patch("perigee.paths.config_folders", return_value=[folder / "config"]):
        plan = make_plan(["periodic"], SCALE)
    store = folder / "results/store"
    for product in plan.products.values():
        put_in_place(product, store)
    figure = plan.figures[FIGURE].folder
    publish(store / figure, folder / "results" / SCALE / "figures", FIGURE)


def put_in_place(product: Product, store: Path) -> None:
    """Write a product's files, and those of a run's measures, each with its own name in it."""
    folder = store / product.folder
    if isinstance(product, RunProduct):
        write(folder, product.identity, RUN_FILES)
        for measure in product.measure_identities.values():
            write(folder / measure.label, measure, MEASURE_FILES)
    else:
        write(folder, product.identity, product.files)


def write(folder: Path, identity: Identity, files: Sequence[str]) -> None:
    """Write a product of made-up files."""
    with product_writer(folder, identity, epochs=1, seed=0) as aside:
        for name in set(files) - {PROVENANCE}:
            (aside / name).write_text(name, encoding="utf-8")


def dry_run(folder: Path, expected: str, *options: str) -> Callable[[int], None]:
    """A dry run to time; its output must contain the expected text, apart from spaces."""

    def way(repetition: int) -> None:
        said = snakemake(folder, [*ARGUMENTS, *options])
        if expected not in " ".join(said.split()):
            sys.exit(f"The dry run did not say '{expected}':\n{said}")

    return way


def measure(repetitions: int) -> Report:
    with tempfile.TemporaryDirectory() as name:
        ways = {}
        for runs in (FEW, MANY):
            untrained, stored = (Path(name) / f"{runs} {state}" for state in (TO_TRAIN, STORED))
            copy_repository(untrained)
            set_runs(untrained, runs)
            shutil.copytree(untrained, stored)
            fill_store(stored)
            expected = f"train_run {runs}"
            ways[f"{runs} runs, {TO_TRAIN}"] = dry_run(untrained, expected)
            ways[f"{runs} runs, {QUIET}"] = dry_run(untrained, "", "--quiet", "all")
            ways[f"{runs} runs, {STORED}"] = dry_run(stored, NOTHING_TO_DO)
        seconds = timed_alternately(ways, repetitions, warm_up=1)
    differences = {}
    for state in (TO_TRAIN, QUIET, STORED):
        many, few = seconds[f"{MANY} runs, {state}"], seconds[f"{FEW} runs, {state}"]
        longer = [a - b for a, b in zip(many, few, strict=True)]
        differences[f"{MANY} - {FEW} runs, {state}: s"] = Summary.of(longer)
    return Report(
        figures={
            **{f"{way}: s": Summary.of(found) for way, found in seconds.items()},
            **differences,
        },
        target=Target(f"{MANY} - {FEW} runs, {TO_TRAIN}: s", "<=", 3),
        conditions={"scale": SCALE, "snakemake": metadata.version("snakemake")},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=5, measure=measure)

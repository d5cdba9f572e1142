"""Find the rates at the borders between regimes, by runs at more of them on an exploring seed."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import yaml
from rich.console import Console
from rich.table import Table

from perigee.analysis.refining import borders, next_rate, sweep_of, told
from perigee.analysis.regimes import statistics_of
from perigee.blocks.analyses import Regimes
from perigee.blocks.measures import Metrics
from perigee.cli import Results, Scale
from perigee.configuration.models import FIRST_SEED, MOST_SEEDS
from perigee.configuration.overlays import SWEEP, flattened
from perigee.configuration.requests import FigureRequest
from perigee.configuration.runs import resolved_run, set_value
from perigee.configuration.scales import known_scales, papers, scale_of
from perigee.configuration.settings import SETTINGS
from perigee.configuration.validation import suggestion
from perigee.data.building import build_dataset
from perigee.data.saving import AnyDataset
from perigee.errors import PerigeeError
from perigee.identity.canonical import canonical_json
from perigee.identity.products import measure_identity
from perigee.in_memory import train
from perigee.paths import shown
from perigee.planning.plan import plan_of_options
from perigee.planning.products import FigureProduct, RunProduct, TableProduct
from perigee.store.progress import duration
from perigee.store.writing import written_atomically

logger = logging.getLogger("perigee")

STOPPED, CLASSES = "stopped", "classes"
"""Columns of a kept file: whether the run diverged, and how many classes its data have."""

JUDGED = range(FIRST_SEED, FIRST_SEED + MOST_SEEDS)
"""The seeds that are judged, or would be if more of them were asked for."""

Found = dict[float, dict[str, Any]]
"""The statistics of the run at each rate."""


def main(
    figure: Annotated[str, typer.Argument(help="A figure with a table of regimes.")],
    scale: Scale = None,
    results: Results = None,
    table: Annotated[str | None, typer.Option(help="The table, if there are several.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The runs' seed; not a judged one.")] = 100,
    ratio: Annotated[
        float, typer.Option(help="Stop when neighbours of different regimes are so near.")
    ] = 1.5,
    runs: Annotated[int, typer.Option(min=0, help="Stop after so many further runs.")] = 8,
) -> None:
    """Find the rates at the borders between regimes, by runs at more of them on an exploring seed.

    Runs as those of the figure's table are trained at the rates that it sweeps, and then at rates
    between neighbours of different regimes (docs/regimes.md), first between those that are widest
    apart. Finished runs are kept in results/refine/<figure>, and the same command goes on from
    there. In the end the lines are printed by which the figure sweeps these rates, too.
    """
    if not ratio > 1:
        raise PerigeeError(f"--ratio is {ratio:g}; it must be above 1, since neighbours differ.")
    plan, store, settings = plan_of_options(scale, None, results)
    product = plan.of_figures([figure]).figures[figure]
    name = _table(product, table)
    analysis = product.tables[name].analysis
    assert isinstance(analysis, Regimes)
    like, rates = _runs(product.tables[name], analysis.rate, figure)
    _require_exploring(seed, product)
    sweep = _Sweep.of(product.request, name, analysis.rate, settings["scale"])
    trained = _Trained(like, analysis, seed, store.parent / "refine" / figure, settings)
    found: Found = {rate: trained.statistics(rate) for rate in rates}
    for _ in range(runs):
        rate = next_rate(_regimes(found), ratio)
        if rate is None:
            break
        found[rate] = trained.statistics(rate)
    Console().print(_shown(found, rates, analysis.rate))
    typer.echo(_interval(_regimes(found)))
    typer.echo(f"\nTo be put into {sweep.file}:\n\n{sweep.lines(_regimes(found), seed)}")


@dataclass(frozen=True)
class _Trained:
    """Runs as those of a table, at any rate and of a seed for exploring.

    Attributes:
        like: one of the table's runs.
        analysis: the table's analysis.
        seed: the seed of all runs.
        folder: the folder that keeps the metrics of finished runs.
        settings: those of the project, for its data and device.
    """

    like: RunProduct
    analysis: Regimes
    seed: int
    folder: Path
    settings: Mapping[str, Any]

    def statistics(self, rate: float) -> dict[str, Any]:
        """The statistics of the run at a rate, which is trained if that was not done before."""
        values = self.like.spec.full_dict() | {"seed": self.seed}
        set_value(values, self.analysis.rate, rate, "", "The run")
        run = replace(self.like, spec=resolved_run(values, "", "The run"))
        measure = next(one for one in run.measures if one.role == Metrics.name)
        digest = measure_identity(measure, run.identity).digest
        kept = self.folder / f"{run.identity.name}-e{run.epochs}-{digest}.parquet"
        if not kept.is_file():
            logger.info("%s: %d epochs", run.identity.name, run.epochs)
            began = time.monotonic()
            made = train(
                values,
                run.epochs,
                dataset=self.dataset,
                measures=[measure.to_dict()],
                device=self.settings["device"],
            )
            metrics = pd.DataFrame(made.measures[measure.name])
            metrics[STOPPED] = made.stopped_at_step is not None
            metrics[CLASSES] = self.dataset.classes
            with written_atomically(kept) as aside:
                metrics.to_parquet(aside, index=False)
            logger.info("trained in %s", duration(time.monotonic() - began))
        metrics = pd.read_parquet(kept)
        found = statistics_of(
            metrics,
            classes=int(metrics[CLASSES].iloc[-1]),
            late_fraction=self.analysis.late_fraction,
            stopped=bool(metrics[STOPPED].iloc[-1]),
        )
        logger.info("rate %g, seed %d: %s", rate, self.seed, found["regime"])
        return found

    @cached_property
    def dataset(self) -> AnyDataset:
        """The data set, which all runs share."""
        sources, download = Path(self.settings["data"]), self.settings["download"]
        return build_dataset(self.like.spec.dataset, sources, download)


@dataclass(frozen=True)
class _Sweep:
    """The place in the configuration where a figure's rates are swept.

    Attributes:
        source, file: the paper's file, and that which changes the rates at the present scale.
        runs: the entry of the figure's runs.
        rate: the dotted key of the rate.
        plain, present: the sweep in the paper's file, and at the present scale.
    """

    source: str
    file: str
    runs: str
    rate: str
    plain: Any
    present: Any

    @classmethod
    def of(cls, figure: FigureRequest, table: str, rate: str, scale_name: str) -> "_Sweep":
        """The place of the sweep over the rate of a table's runs.

        Raises:
            PerigeeError: none of these runs sweeps the rate.
        """
        path = papers()[figure.paper][figure.name]
        scale = scale_of(scale_name, known_scales(), SETTINGS)
        read = scale.read(path)
        entries = {name: read.values["runs"][name] for name in read.values["tables"][table]["runs"]}
        name = next((n for n, one in entries.items() if rate in one.get(SWEEP, {})), None)
        if name is None:
            raise PerigeeError(f"{read.file}: table '{table}' has no runs that sweep '{rate}'.")
        overlays = [folder / path.parent.name / path.name for folder in scale.folders]
        file = scale.overlay(path.parent.name, path.name) or next(iter(overlays), path)
        plain = read.plain["runs"][name][SWEEP][rate]
        return cls(shown(path), shown(file), name, rate, plain, entries[name][SWEEP][rate])

    def lines(self, regimes: Mapping[float, str], seed: int) -> str:
        """The lines of YAML by which the figure sweeps all these rates."""
        rates = sweep_of(sorted(regimes), self.plain, self.present)
        key = f"runs.{self.runs}.{SWEEP}.{self.rate}"
        document = {
            "runs": {self.runs: {SWEEP: {self.rate: rates}}},
            "seen": {key: {"seeds": [seed], "saw": f"{told(regimes).capitalize()}."}},
        }
        text: str = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)
        new = [name for name in rates if name not in self.plain]
        if isinstance(rates, dict) and new and self.file != self.source:
            text = f"# {self.source} must have the names {', '.join(new)}, too.\n{text}"
        return text


def _table(figure: FigureProduct, name: str | None) -> str:
    """The name of the figure's table of regimes."""
    key = figure.request.key
    known = [n for n, one in figure.tables.items() if isinstance(one.analysis, Regimes)]
    if not known:
        raise PerigeeError(
            f"{key} has no table with the analysis 'regimes', whose borders to find."
        )
    if name is None and len(known) > 1:
        raise PerigeeError(f"{key} has several tables of regimes; add --table {known[0]}, or so.")
    if name is not None and name not in known:
        raise PerigeeError(f"{key} has no table of regimes '{name}'; {suggestion(name, known)}.")
    return name or known[0]


def _runs(table: TableProduct, rate: str, figure: str) -> tuple[RunProduct, list[float]]:
    """One of a table's runs, and the rates of all; these may differ in the seed, too."""
    rates: set[float] = set()
    kinds: dict[str, RunProduct] = {}
    for run in (entry.run for entry in table.entries):
        values = flattened(run.spec.full_dict()) | {"seed": None, "epochs": run.epochs}
        if run.parent is not None or rate not in values:
            lack = "start from other runs" if run.parent else f"have no '{rate}'"
            raise PerigeeError(f"{figure} has runs that {lack}; their borders cannot be refined.")
        rates.add(float(values.pop(rate)))
        kinds.setdefault(canonical_json(values), run)
    if len(kinds) > 1:
        raise PerigeeError(
            f"{figure} has runs that differ in more than '{rate}' and seed; name a table of runs "
            "that do not."
        )
    return next(iter(kinds.values())), sorted(rates)


def _require_exploring(seed: int, figure: FigureProduct) -> None:
    if seed in JUDGED or seed in {run.spec.seed for run in figure.runs}:
        raise PerigeeError(
            f"--seed is {seed}, but seeds {JUDGED[0]} to {JUDGED[-1]} and those of the figure are "
            "judged; look at another one, such as 100, to choose rates."
        )


def _regimes(found: Found) -> dict[float, str]:
    return {rate: one["regime"] for rate, one in found.items()}


def _shown(found: Found, swept: list[float], rate: str) -> Table:
    table = Table(title=f"Regimes by {rate}")
    for column in ("rate", "late train loss", "late train error", "regime", ""):
        table.add_column(column, justify="left" if column in ("regime", "") else "right")
    for value, one in sorted(found.items()):
        table.add_row(
            f"{value:g}",
            f"{one['late_train_loss']:.3g}",
            f"{one['late_train_error']:.1%}",
            one["regime"].replace("_", " "),
            "" if value in swept else "new",
        )
    return table


def _interval(regimes: Mapping[float, str]) -> str:
    """The borders found, a line each."""
    lines = [
        f"{regimes[low]} up to {low:g}, {regimes[high]} from {high:g}: {high / low:.2f} times"
        for low, high in borders(regimes)
    ]
    alone = "All runs are of one regime; sweep rates that are lower or higher."
    return "\n".join(lines).replace("_", " ") or alone

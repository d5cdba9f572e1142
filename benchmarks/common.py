"""Shared by the benchmarks: the laptop run, alternating timing, the report in text and JSON."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import perigee
from perigee.planning.plan import make_plan
from perigee.spec import RunSpec
from perigee.store.provenance import hardware, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LEARNING_RATE, SEED = 0.3, 100
"""The run that is measured: one that periodic_fig3 sweeps at laptop scale, with a seed that nobody
judges."""


@dataclass(frozen=True)
class Summary:
    """Median and range of a figure that was measured several times.

    Attributes:
        low, high: an interval that holds the true median with 95 % confidence, whatever the
            distribution; the whole range where there are too few repetitions for it.
    """

    median: float
    low: float
    high: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Summary:
        """The summary of at least one figure, to five digits."""
        ordered = sorted(figures)
        left_out = outside_interval(len(ordered))
        low, high = ordered[left_out], ordered[-1 - left_out]
        found = statistics.median(ordered), low, high, ordered[0], ordered[-1]
        return cls(*(float(f"{figure:.5g}") for figure in found))


def outside_interval(count: int) -> int:
    """How many of the least figures, and of the largest, lie outside the median's 95 % interval.

    The true median lies below the k-th least figure with the probability that at most k - 1 of
    ``count`` fair coins fall on heads.
    """
    share, below = 0.0, 0
    while (share := share + math.comb(count, below) / 2**count) <= 0.025:
        below += 1
    return max(below - 1, 0)


@dataclass(frozen=True)
class Target:
    """A limit that the project set itself for the median of one figure.

    Attributes:
        figure: name of the figure.
        relation: "<=" or ">=".
        limit: the limit in the figure's unit.
    """

    figure: str
    relation: str
    limit: float

    def met(self, figures: Mapping[str, Summary]) -> bool:
        """Return whether the measured median keeps to the limit."""
        median = figures[self.figure].median
        return median <= self.limit if self.relation == "<=" else median >= self.limit


@dataclass(frozen=True)
class Report:
    """The findings of a benchmark.

    Attributes:
        figures: the figures by name with unit; ratios have none.
        target: the target for one of them.
        conditions: what else a reader must know to judge the figures.
        further: targets for others.
    """

    figures: Mapping[str, Summary]
    target: Target
    conditions: Mapping[str, Any]
    further: tuple[Target, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets."""
        return (self.target, *self.further)


def main(
    description: str,
    repetitions: int,
    measure: Callable[..., Report],
    options: Mapping[str, tuple[Any, str]] = MappingProxyType({}),
) -> None:
    """Parse the command line, measure, print the table and write the JSON file.

    Args:
        description: what is measured; its first line goes into the JSON file.
        repetitions: the default number of repetitions.
        measure: a function of the number of repetitions, and of the options by name.
        options: defaults and help texts of further options, by name.
    """
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=repetitions, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="JSON file")
    for option, (default, told) in options.items():
        parser.add_argument(
            f"--{option}", type=type(default), default=default, help=f"{told}; default: %(default)s"
        )
    arguments = parser.parse_args()
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    _require_own_library()
    started = time.gmtime()
    chosen = {option: getattr(arguments, option) for option in options}
    report = measure(arguments.repetitions, **chosen)
    _print_table(name, report)
    document = {
        "benchmark": name,
        "measures": description.partition("\n")[0],
        "command": " ".join(["python", f"benchmarks/{name}.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", started),
        "repetitions": arguments.repetitions,
        "figures": {figure: asdict(summary) for figure, summary in report.figures.items()},
        "targets": [asdict(one) | {"met": one.met(report.figures)} for one in report.targets],
        "conditions": dict(report.conditions),
        "hardware": hardware(),
        "versions": versions(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def laptop_run() -> RunSpec:
    """The run of periodic_fig3 at laptop scale with `LEARNING_RATE`, and with `SEED`."""
    for run in make_plan(["periodic"], "laptop").figures["periodic_fig3"].runs:
        if run.spec.optimiser.learning_rate == LEARNING_RATE:
            return run.spec.model_copy(update={"seed": SEED})
    sys.exit(f"periodic_fig3 has no run of learning rate {LEARNING_RATE} any more.")


def timed_alternately(
    ways: Mapping[str, Callable[[int], object]], repetitions: int, warm_up: int
) -> dict[str, list[float]]:
    """Wall times of several ways to do the same, taken in turns: A B, B A, A B, ...

    What else the machine does then slows all ways alike, and none is always the first.

    Args:
        ways: by name; each is called with the number of the repetition, counted from 0.
        repetitions: how many are timed.
        warm_up: how many go before them, untimed; the numbering goes on.

    Returns:
        Seconds, one figure a repetition for every way.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(warm_up + repetitions):
        in_turn = list(ways.items())
        for name, way in in_turn if repetition % 2 == 0 else reversed(in_turn):
            start = time.perf_counter()
            way(repetition)
            if repetition >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Summary:
    """Summary of the ratios of figures measured in the same repetition."""
    return Summary.of([a / b for a, b in zip(numerators, denominators, strict=True)])


def _require_own_library() -> None:
    """Stop if the benchmarks would measure another checkout's library."""
    if not Path(perigee.__file__).is_relative_to(ROOT):
        sys.exit("The installed perigee is not this checkout's: use this checkout's environment.")


def _print_table(name: str, report: Report) -> None:
    width = max(map(len, report.figures))
    columns = [column.name for column in fields(Summary)]
    print(f"{name}\n{'':{width}} " + "".join(f"{column:>10}" for column in columns))
    for figure, found in report.figures.items():
        numbers = "".join(f"{getattr(found, column):10.4g}" for column in columns)
        print(f"{figure:{width}} {numbers}")
    for target in report.targets:
        verdict = "met" if target.met(report.figures) else "MISSED"
        print(f"target: {target.figure} {target.relation} {target.limit:g}: {verdict}")

"""Stability of verdicts: how often two halves of the seeds, or two machines, give the same one.

The figures' tables have to be made for at least 12 seeds:

    snakemake claims --config seeds=16
    python benchmarks/verdict_stability.py --seeds 16

The seeds are split into two halves, again and again, and every claim is judged on each half. Beside
the share of splits in which the halves agree stands the share that is to be expected of the claim's
own rate: a claim that holds in 7 of 10 seeds must turn now and then, whatever the software does.
Identities, and claims that the scale cannot test, are left out. --other takes the results of
another machine, whose verdicts on all its seeds are compared with those here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from perigee.claims.judging import judgements
from perigee.claims.outcomes import (
    CONTRADICTED,
    IDENTITY,
    NOT_TESTABLE,
    NOTHING,
    REPRODUCED,
)
from perigee.claims.verdicts import verdict_of_rate
from perigee.planning.plan import make_plan
from perigee.planning.products import FigureProduct
from perigee.store.provenance import hardware, versions
from perigee.store.tables import TABLE

ROOT = Path(__file__).resolve().parents[1]
FEWEST = 12
"""The fewest seeds of which halves are compared."""

EQUAL = 0.85
"""The share of equal verdicts that the project set itself; opposite ones there should be none."""

SPLITS_SEED = 0


def splits(seeds: Sequence[int], count: int) -> list[tuple[list[int], list[int]]]:
    """Random splits of the seeds into two halves of equal size."""
    draws = np.random.default_rng(SPLITS_SEED)
    half = len(seeds) // 2
    mixed = (draws.permutation(np.asarray(seeds)).tolist() for _ in range(count))
    return [(sorted(one[:half]), sorted(one[half : 2 * half])) for one in mixed]


def verdicts(
    figure: FigureProduct, tables: Mapping[str, pd.DataFrame], seeds: Sequence[int]
) -> dict[str, str]:
    """The verdicts on a figure's empirical claims, judged on some of the seeds, by claim."""
    some = {
        name: table[table["seed"].isin(seeds)] if "seed" in table else table
        for name, table in tables.items()
    }
    planned = {name: list(seeds) for name, table in tables.items() if "seed" in table}
    request = figure.request
    judged = judgements(request.paper, request.name, request.claims, some, planned)
    rows = judged[(judged["kind"] != IDENTITY) & (judged["verdict"] != NOT_TESTABLE)]
    return dict(zip(rows["claim"], rows["verdict"], strict=True))


def expected_agreement(fulfilled: int, measured: int, half: int) -> float:
    """The chance that two halves agree on a rate that holds in each seed with the observed chance.

    Args:
        fulfilled, measured: of all seeds those that fulfil the rule, and those that were measured.
        half: the number of seeds in a half.
    """
    if not measured:
        return 1.0
    chances: dict[str, float] = {}
    for count, chance in enumerate(binom.pmf(range(half + 1), half, fulfilled / measured)):
        verdict = verdict_of_rate(count, half)
        chances[verdict] = chances.get(verdict, 0.0) + float(chance)
    return sum(chance**2 for chance in chances.values())


def agreement(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The shares of equal and of opposite verdicts in pairs of them."""
    opposite = {REPRODUCED, CONTRADICTED}
    return {
        "equal": sum(one == other for one, other in pairs) / len(pairs),
        "opposite": sum({one, other} == opposite for one, other in pairs) / len(pairs),
    }


def main() -> int:
    """Judge the claims on halves of the seeds, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="laptop", help="default: %(default)s")
    parser.add_argument("--papers", nargs="+", default=["periodic", "regimes"])
    parser.add_argument("--seeds", type=int, default=FEWEST, help="default: %(default)s")
    parser.add_argument("--splits", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--other", type=Path, help="results of another machine, same version")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks/results/verdict_stability.json"
    )
    given = parser.parse_args()
    if given.seeds < FEWEST:
        parser.error(f"--seeds must be at least {FEWEST}")
    plan = make_plan(given.papers, given.scale, given.seeds)
    found: dict[str, Any] = {}
    for key, figure in plan.figures.items():
        tables = read_tables(figure, given.results)
        seeds = sorted({seed for table in tables.values() for seed in table.get("seed", ())})
        if not seeds or not figure.request.claims:
            continue
        halves = splits(seeds, given.splits)
        both = [tuple(verdicts(figure, tables, half) for half in pair) for pair in halves]
        every = verdicts(figure, tables, seeds)
        there = (
            verdicts(figure, read_tables(figure, given.other), seeds)
            if given.other
            else dict[str, str]()
        )
        rates = rates_of(figure, tables, seeds)
        for claim in every:
            found[f"{key}.{claim}"] = {
                "verdict": every[claim],
                **agreement([(one[claim], other[claim]) for one, other in both]),
                "expected": expected_agreement(*rates[claim], len(seeds) // 2)
                if claim in rates
                else None,
                **({"there": there[claim]} if claim in there else {}),
            }
    if not found:
        sys.exit("No claim has seeds to be split.")
    report(found, given)
    return 0


def read_tables(figure: FigureProduct, results: Path) -> dict[str, pd.DataFrame]:
    """A figure's tables.

    Raises:
        SystemExit: one is not made.
    """
    try:
        return {
            name: pd.read_parquet(results / "store" / table.folder / TABLE)
            for name, table in figure.tables.items()
        }
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is not made; run snakemake claims with as many seeds first.")


def rates_of(
    figure: FigureProduct, tables: Mapping[str, pd.DataFrame], seeds: Sequence[int]
) -> dict[str, tuple[int, int]]:
    """The seeds that fulfil a rule and those that were measured, of claims that count seeds."""
    request = figure.request
    planned = {name: list(seeds) for name, table in tables.items() if "seed" in table}
    rows = judgements(request.paper, request.name, request.claims, tables, planned)
    counted = rows[rows["kind"].isin(["rate", "trend"])]
    return {
        claim: (int(text.partition("/")[0]), int(text.partition("/")[2]))
        for claim, text in zip(counted["claim"], counted["fulfilled"], strict=True)
    }


def report(found: Mapping[str, Mapping[str, Any]], given: argparse.Namespace) -> None:
    """Print a line per claim and the mean over them, and write the JSON file."""
    width = max(map(len, found))
    print(f"{'':{width}} {'equal':>8} {'expected':>9} {'opposite':>9}  verdict on all seeds")
    for name, one in found.items():
        expected = "" if one["expected"] is None else f"{one['expected']:.2f}"
        other = f" (there: {one['there']})" if "there" in one else ""
        print(
            f"{name:{width}} {one['equal']:8.2f} {expected:>9} {one['opposite']:9.2f}  "
            f"{one['verdict']}{other}"
        )
    equal = float(np.mean([one["equal"] for one in found.values()]))
    opposite = float(np.mean([one["opposite"] for one in found.values()]))
    met = equal >= EQUAL and opposite == 0
    print(f"equal {equal:.3f}, opposite {opposite:.4f}")
    print(f"target: equal >= {EQUAL:g} and opposite = 0: {'met' if met else 'MISSED'}")
    measured = [one for one in found.values() if one["verdict"] != NOTHING]
    document = {
        "benchmark": "verdict_stability",
        "command": " ".join(["python", "benchmarks/verdict_stability.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "scale": given.scale,
        "seeds": given.seeds,
        "splits": given.splits,
        "equal": equal,
        "opposite": opposite,
        "met": met,
        "measured": len(measured),
        "claims": found,
        "hardware": hardware(),
        "versions": versions(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())

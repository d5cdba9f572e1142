"""Stability of verdicts: how often two halves of the seeds, or two machines, give the same one.

The numbers of single seeds come from evidence/seeds.csv, to which `perigee claims keep` adds, so
that nothing is trained:

    python benchmarks/verdict_stability.py

The seeds are split into two halves, again and again, and every claim is judged on each half. Beside
the share of splits in which the halves agree stands the share that is to be expected of the claim's
own rate: a claim that holds in 7 of 10 seeds must turn now and then, whatever the software does.
--other takes the numbers of another machine, whose verdicts on all its seeds are compared with
those here.

Left out, and counted: identities; claims that the scale cannot test; claims of too few kept seeds;
and those whose interval needs more than a number a seed, such as the test images of every seed.
Numbers that were kept before a claim's rule was locked are not of that rule, and do not count.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from perigee.claims.outcomes import CONTRADICTED, IDENTITY, NOTHING, REPRODUCED
from perigee.claims.verdicts import is_rate, judge, verdict_of_rate
from perigee.planning.plan import make_plan
from perigee.spec import Claim
from perigee.store.provenance import hardware, versions

ROOT = Path(__file__).resolve().parents[1]
FEWEST = 12
"""The fewest seeds of which halves are compared."""

EQUAL = 0.85
"""The share of equal verdicts that the project set itself; opposite ones there should be none."""

SPLITS_SEED = 0

Numbers = Mapping[int, float | None]
"""The kept numbers of a claim, by seed: NaN where there was nothing to measure, None where the
premise is not met."""


def splits(seeds: Sequence[int], count: int) -> list[tuple[list[int], list[int]]]:
    """Random splits of the seeds into two halves of equal size."""
    draws = np.random.default_rng(SPLITS_SEED)
    half = len(seeds) // 2
    mixed = (draws.permutation(np.asarray(seeds)).tolist() for _ in range(count))
    return [(sorted(one[:half]), sorted(one[half : 2 * half])) for one in mixed]


def kept_numbers(table: pd.DataFrame, claim: Claim) -> dict[int, float | None]:
    """The number of each seed that is kept for a claim, of several the one kept last.

    Args:
        table: the rows of the claim, as `perigee claims keep` writes them, all as text.
        claim: the claim, whose rule the numbers must not be older than.

    Returns:
        By seed: NaN where there was nothing to measure, None where the premise is not met.
    """
    locked = claim.locked.partition(",")[0]
    of_the_rule = table[table["date"] >= locked].sort_values("date", kind="stable")
    return {
        int(row.seed): None
        if row.premise == "not met"
        else float(row.value)
        if row.value
        else math.nan
        for row in of_the_rule.itertuples()
    }


def verdict(claim: Claim, numbers: Numbers, seeds: Sequence[int]) -> str:
    """The verdict on a claim, judged on some of the seeds."""
    given = (numbers[seed] for seed in seeds)
    return judge(claim, [number for number in given if number is not None]).verdict


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
        found = verdict_of_rate(count, half)
        chances[found] = chances.get(found, 0.0) + float(chance)
    return sum(chance**2 for chance in chances.values())


def agreement(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The shares of equal and of opposite verdicts in pairs of them."""
    opposite = {REPRODUCED, CONTRADICTED}
    return {
        "equal": sum(one == other for one, other in pairs) / len(pairs),
        "opposite": sum({one, other} == opposite for one, other in pairs) / len(pairs),
    }


def stability(claim: Claim, numbers: Numbers, count: int, there: Numbers) -> dict[str, Any]:
    """How stable the verdict on a claim is: a row of the result.

    Args:
        claim: the claim.
        numbers: what is kept of it here, by seed.
        count: the number of splits.
        there: what is kept of it on another machine; nothing if there is none.
    """
    seeds = sorted(numbers)
    pairs = [
        (verdict(claim, numbers, one), verdict(claim, numbers, other))
        for one, other in splits(seeds, count)
    ]
    found = judge(claim, [number for number in numbers.values() if number is not None])
    return {
        "verdict": found.verdict,
        **agreement(pairs),
        "expected": expected_agreement(found.fulfilled, found.measured, len(seeds) // 2)
        if is_rate(claim)
        else None,
        **({"there": verdict(claim, there, sorted(there))} if there else {}),
    }


def left_out(claim: Claim, numbers: Numbers) -> str | None:
    """Why a claim is left out, in a few words; None if it is compared."""
    if claim.kind == IDENTITY:
        return "identities"
    if not claim.testable:
        return "not testable at this scale"
    if claim.pooled or claim.shared is not None or claim.draws != "seed":
        return "judged on more than a number a seed"
    return f"fewer than {FEWEST} seeds kept" if len(numbers) < FEWEST else None


def read_kept(path: Path, scale: str) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The rows of a table of kept numbers at one scale, by paper, figure and claim."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = table[table["scale"] == scale]
    return {
        (str(paper), str(figure), str(claim)): part
        for (paper, figure, claim), part in rows.groupby(["paper", "figure", "claim"])
    }


def main() -> int:
    """Judge the claims on halves of the seeds, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="laptop", help="default: %(default)s")
    parser.add_argument("--papers", nargs="+", default=["periodic", "regimes", "smd"])
    parser.add_argument("--splits", type=int, default=200, help="default: %(default)s")
    parser.add_argument(
        "--kept", type=Path, default=ROOT / "evidence/seeds.csv", help="the numbers of seeds"
    )
    parser.add_argument("--other", type=Path, help="those of another machine, same version")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks/results/verdict_stability.json"
    )
    given = parser.parse_args()
    here, there = (
        read_kept(path, given.scale) if path else {} for path in (given.kept, given.other)
    )
    found: dict[str, Any] = {}
    without: Counter[str] = Counter()
    for figure in make_plan(given.papers, given.scale).figures.values():
        request = figure.request
        for claim in request.claims:
            key = request.paper, request.name, claim.name
            numbers, others = (
                kept_numbers(rows[key], claim) if key in rows else {} for rows in (here, there)
            )
            if reason := left_out(claim, numbers):
                without[reason] += 1
            else:
                name = f"{request.paper}_{request.name}.{claim.name}"
                found[name] = stability(claim, numbers, given.splits, others)
    if not found:
        sys.exit(f"No claim has {FEWEST} seeds in {given.kept}; add some with perigee claims keep.")
    report(found, without, given)
    return 0


def report(
    found: Mapping[str, Mapping[str, Any]], without: Mapping[str, int], given: argparse.Namespace
) -> None:
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
    print(f"{len(found)} claims: equal {equal:.3f}, opposite {opposite:.4f}")
    for reason, count in without.items():
        print(f"left out: {count}, {reason}")
    print(f"target: equal >= {EQUAL:g} and opposite = 0: {'met' if met else 'MISSED'}")
    document = {
        "benchmark": "verdict_stability",
        "command": " ".join(["python", "benchmarks/verdict_stability.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "scale": given.scale,
        "splits": given.splits,
        "equal": equal,
        "opposite": opposite,
        "met": met,
        "measured": sum(one["verdict"] != NOTHING for one in found.values()),
        "left_out": dict(without),
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

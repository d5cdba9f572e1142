"""Every configured claim may be reproduced or not.

For each there is a table of the right form that shows what the claim says, and one that lacks just
that, in tests/support/<paper>_tables.py. Without the second, a claim might be one that no run can
refute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from perigee import registry
from perigee.claims.judging import judgements, measure
from perigee.claims.outcomes import (
    CONTRADICTED,
    HOLDS,
    INCONCLUSIVE,
    NOTHING,
    REPRODUCED,
    VIOLATED,
)
from perigee.claims.relations import RELATIONS
from perigee.claims.verdicts import fulfils, value_of
from perigee.measures.metrics import COLUMNS as METRICS_COLUMNS
from perigee.spec import Claim
from support import periodic_tables, regimes_tables, regimes_toy_tables, smd_tables
from support.configured_claims import LAPTOP, Example, OfRuns, Place, each, every_claim
from support.periodic_tables import PREMISES
from support.signals import sawtooth
from support.synthetic_runs import with_hits, write_kept_run, write_run, write_stepping_run

SEEDS = (0, 1, 2)

TABLES: Mapping[Place, tuple[Example, Example]] = {
    **periodic_tables.TABLES,
    **regimes_toy_tables.TABLES,
    **regimes_tables.TABLES,
    **smd_tables.TABLES,
}
"""An example and a counterexample for every claim."""

WITHOUT_ANYTHING: Mapping[Place, OfRuns] = {
    **periodic_tables.WITHOUT_ANYTHING,
    **regimes_tables.WITHOUT_PREMISE,
    **smd_tables.WITHOUT_PREMISE,
}
"""Runs in which there is nothing to measure, or which lack a claim's premise."""


claims_on_runs = each(place for place, (_, table) in LAPTOP.items() if table.runs)
claims_on_made_tables = each(
    place for place, tables in TABLES.items() if not isinstance(tables[0], OfRuns)
)

Tables = Mapping[str, pd.DataFrame]


def tables_of(place: Place, make: Example) -> Tables:
    """Make the tables of a claim and its premise, on several seeds if they are made from runs."""
    claim, request = LAPTOP[place]
    if isinstance(make, OfRuns):
        names = {claim.table, *([claim.given.table] if claim.given else [])}
        return {name: make.table(name, SEEDS) for name in names}
    assert claim.given is None or place in PREMISES
    return {claim.table: make(seeds=SEEDS) if request.runs else make()}


def made(place: Place, *, shows_it: bool) -> Tables:
    """Make the tables of an example or counterexample."""
    example, counterexample = TABLES[place]
    return tables_of(place, example if shows_it else counterexample)


def test_every_claim_has_its_tables() -> None:
    assert set(TABLES) == set(LAPTOP)
    premises = {place for place, (claim, _) in LAPTOP.items() if claim.given is not None}
    assert premises <= set(WITHOUT_ANYTHING) | set(PREMISES)


def claim_at(place: Place) -> Claim:
    """The claim, without a premise for which `PREMISES` has tables of its own."""
    claim = replace(LAPTOP[place][0], testable=True)
    return replace(claim, given=None) if place in PREMISES else claim


def verdict(claim: Claim, tables: Tables) -> tuple[str, dict[str, float]]:
    """The verdict on a claim, and the number of each seed."""
    found = measure(claim.name, claim, tables[claim.table], claim.draws)
    (row,) = judgements("a paper", "a figure", [claim], tables).to_dict("records")
    return row["verdict"], {seed: value_of(number) for seed, number in found.items()}


@every_claim
def test_it_is_reproduced_where_the_phenomenon_is(place: Place) -> None:
    claim = claim_at(place)
    found, measured = verdict(claim, made(place, shows_it=True))
    assert found == (HOLDS if claim.kind == "identity" else REPRODUCED), measured


@every_claim
def test_it_is_contradicted_where_the_phenomenon_is_absent(place: Place) -> None:
    claim = claim_at(place)
    found, measured = verdict(claim, made(place, shows_it=False))
    # On every seed, and not for want of anything to measure.
    assert all(math.isfinite(value) for value in measured.values()), measured
    if claim.kind == "mean":
        assert found in (CONTRADICTED, INCONCLUSIVE), measured
        return
    assert found == (VIOLATED if claim.kind == "identity" else CONTRADICTED), measured
    assert not any(fulfils(claim, value) for value in measured.values())


@each(WITHOUT_ANYTHING)
def test_without_anything_to_measure_or_its_premise_it_is_neither(place: Place) -> None:
    claim, _ = LAPTOP[place]
    tables = tables_of(place, WITHOUT_ANYTHING[place])
    assert verdict(claim, tables)[0] == NOTHING
    if claim.given is not None:
        premises = measure(claim.name, claim.given, tables[claim.given.table], claim.draws)
        assert all(math.isfinite(value_of(number)) for number in premises.values())


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        pytest.param(place, missing, id="-".join((*place, missing)))
        for missing, (_, places) in regimes_tables.MISSING.items()
        for place in places
    ],
)
def test_where_runs_of_a_regime_are_missing_there_is_nothing_to_measure(
    place: Place, missing: str
) -> None:
    claim, _ = LAPTOP[place]
    runs, _ = regimes_tables.MISSING[missing]
    assert verdict(claim, tables_of(place, runs))[0] == NOTHING


@claims_on_runs
def test_of_three_seeds_one_without_the_phenomenon_leaves_it_open(place: Place) -> None:
    claim = claim_at(place)
    example, other = made(place, shows_it=True), made(place, shows_it=False)
    mixed = {
        name: pd.concat((table[table["seed"] != 1], other[name][other[name]["seed"] == 1]))
        for name, table in example.items()
    }
    found, measured = verdict(claim, mixed)
    assert found == (VIOLATED if claim.kind == "identity" else INCONCLUSIVE), measured


@each(PREMISES)
def test_its_premise_may_be_met_or_not(place: Place) -> None:
    given = LAPTOP[place][0].given
    assert given is not None
    for make, is_met in zip(PREMISES[place], (True, False), strict=True):
        found = measure(place[1], given, make(seeds=SEEDS)).values()
        met = [RELATIONS[given.relation](value_of(one), given.bound) for one in found]
        assert met == [is_met] * len(SEEDS)


@claims_on_made_tables
def test_its_tables_have_the_columns_that_the_analysis_makes(place: Place, tmp_path: Path) -> None:
    claim, request = LAPTOP[place]
    runs = []
    if request.analysis.name in ("similarity", "ensemble_gains"):
        signal = sawtooth([60, 80], 40, 2.0, 0.0, 0)
        labels = {key: value for key, value in request.runs[0].swept.items() if key == "label"}
        for seed in (0, 1):
            run = write_kept_run(tmp_path, signal, 4, seed)
            runs.append(replace(run, swept={**labels, **run.swept}))
    elif request.analysis.name == "one_period":
        runs.append(write_stepping_run(tmp_path / "run", [90, 110]))
    elif request.analysis.parameters.get("resolution") == "step":
        run = with_hits(write_stepping_run(tmp_path / "run", [90, 110]))
        runs.append(
            replace(run, swept={k: v for one in request.runs for k, v in one.swept.items()})
        )
    elif request.runs:
        metrics = pd.DataFrame([{"epoch": 0, **dict.fromkeys(METRICS_COLUMNS, 0.0)}])
        runs.append(write_run(tmp_path / "run", metrics, request.runs[0].swept))
    small = {"iterations": 2, "starts": 2, "points": 2}
    given = request.analysis.parameters
    parameters = {name: small.get(name, value) for name, value in given.items()}
    real = registry.load(request.analysis)(runs, **parameters)
    for shows_it in (True, False):
        table = made(place, shows_it=shows_it)[claim.table]
        if runs:
            assert set(table) <= set(real)
        else:
            assert list(table) == list(real)

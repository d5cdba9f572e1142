"""Mistakes in a study's claims are reported in one sentence with file and key."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perigee.blocks.quantities import ColumnStatistic, DestabilisationCount
from perigee.configuration.scales import SCALES
from perigee.configuration.studies import read_study
from perigee.errors import PerigeeError
from perigee.spec import Claim

FIGURE = yaml.safe_load("""
title: t
tables:
  runs:
    analysis: {name: run_metrics}
    runs:
      - {base: base, epochs: 3, sweep: {optimiser.learning_rate: [0.1, 0.2], seed: [0, 1]}}
  formula:
    analysis: {name: toy_gradient_identities, points: 3, factors: [2], seed: 0}
claims:
  falls:
    says: It falls.
    place: Figure 1
    table: formula
    quantity: {name: column_statistic, column: x, statistic: maximum, where: {factor: "2e0"}}
    expected: {at_most: 1e-3}
    scales: [smoke]
  many:
    says: There are many.
    place: Section 2
    table: runs
    quantity:
      name: destabilisation_count
      learning_rates: {smoke: [0.1], laptop: [0.1], paper: [0.2]}
      statistic: minimum
    expected: {at_least: 2}
""")
STUDY = {
    "study": "mine",
    "citation": "Someone 2020",
    "runs": {
        "base": {
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", "width": 2, "scale_invariant": True},
            "optimiser": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": 128,
            "seed": 0,
        }
    },
    "figures": {"fig1": FIGURE},
}

Edit = Callable[[dict[str, Any]], None]


def claims_of(folder: Path, study: dict[str, Any], scale: str) -> tuple[Claim, ...]:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(study))
    (figure,) = read_study(path, scale)
    return figure.claims


@pytest.mark.parametrize("scale", SCALES)
def test_claims_are_read_with_defaults_and_values_of_the_scale(scale: str, tmp_path: Path) -> None:
    falls, many = claims_of(tmp_path, STUDY, scale)
    assert falls == Claim(
        name="falls",
        says="It falls.",
        source="Someone 2020, Figure 1",
        table="formula",
        quantity=ColumnStatistic(
            column="x", statistic="maximum", where={"factor": 2}, last_fraction=1.0
        ),
        relation="at_most",
        bound=0.001,
        testable=scale == "smoke",
    )
    rates = [0.2] if scale == "paper" else [0.1]
    assert many.quantity == DestabilisationCount(learning_rates=rates, statistic="minimum")
    assert many.testable == (scale != "smoke")


def test_a_figure_may_have_no_claims(tmp_path: Path) -> None:
    study = copy.deepcopy(STUDY)
    del study["figures"]["fig1"]["claims"]
    assert claims_of(tmp_path, study, "laptop") == ()


def in_claim(*path: str, value: Any) -> Edit:
    return in_figure("claims", "many", *path, value=value)


def in_figure(*path: Any, value: Any) -> Edit:
    def edit(figure: dict[str, Any]) -> None:
        *parents, last = path
        for parent in parents:
            figure = figure[parent]
        figure[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "key", "told"),
    [
        pytest.param(
            in_claim("quantity", "name", value="destabilisation_cout"),
            "claims.many.quantity.name",
            ["is not a quantity", "did you mean 'destabilisation_count'?"],
            id="unknown quantity",
        ),
        pytest.param(
            in_claim("quantity", value={"learning_rates": [0.1]}),
            "claims.many.quantity",
            ["'name'", "is missing"],
            id="no quantity",
        ),
        pytest.param(
            in_claim("table", value="metrics"),
            "claims.many.table",
            ["'metrics'", "is not a table of the figure", "known are formula, runs"],
            id="unknown table",
        ),
        pytest.param(
            in_claim("table", value="formula"),
            "claims.many.quantity",
            ["'destabilisation_count'", "'formula' is made without runs"],
            id="a quantity of runs without runs",
        ),
        pytest.param(
            in_claim("expected", value={"at_least": 2, "at_most": 3}),
            "claims.many.expected",
            ["{'at_least': 2, 'at_most': 3}", "has 2 keys", "no more than 1"],
            id="two relations",
        ),
        pytest.param(
            in_claim("expected", value={}),
            "claims.many.expected",
            ["is empty", "at least one"],
            id="no relation",
        ),
        pytest.param(
            in_claim("expected", value={"at_lest": 2}),
            "claims.many.expected",
            ["unknown key 'at_lest'", "did you mean 'at_least'?"],
            id="unknown relation",
        ),
        *(
            pytest.param(
                in_claim("expected", value={"at_least": bound}),
                "claims.many.expected.at_least",
                [told],
                id=f"the bound {bound}",
            )
            for bound, told in (
                ("two", "of type number"),
                (True, "of type number"),
                (None, "of type number"),
                ([2], "of type number"),
                (float("nan"), "finite number"),
            )
        ),
        pytest.param(
            in_claim("scales", value=["laptop", "huge"]),
            "claims.many.scales[1]",
            ["'huge'", "known are laptop, paper, smoke"],
            id="unknown scale",
        ),
        pytest.param(
            in_claim("scales", value=[]), "claims.many.scales", ["is empty"], id="no scale"
        ),
        pytest.param(
            in_claim("quantity", "learning_rate", value=0.1),
            "claims.many.quantity",
            ["unknown key 'learning_rate'", "did you mean 'learning_rates'?"],
            id="unknown parameter",
        ),
        pytest.param(
            in_claim("quantity", "statistic", value="mean"),
            "claims.many.quantity.statistic",
            ["'mean'", "known are maximum, minimum"],
            id="unknown statistic",
        ),
        pytest.param(
            in_claim("quantity", "learning_rates", value=[0.1, -0.1]),
            "claims.many.quantity.learning_rates[1]",
            ["-0.1", "greater than 0"],
            id="a negative rate",
        ),
        pytest.param(
            in_claim("quantity", "learning_rates", value={"smoke": [0.1], "paper": [0.1]}),
            "claims.many.quantity.learning_rates",
            ["no value for the scale 'laptop'"],
            id="a scale left out",
        ),
        pytest.param(
            in_figure("claims", "falls", "quantity", "where", value={"factor": [2]}),
            "claims.falls.quantity.where.factor",
            ["of type number, string or boolean"],
            id="a list to be equal to",
        ),
        pytest.param(
            in_figure("claims", "falls", "quantity", "last_fraction", value=0),
            "claims.falls.quantity.last_fraction",
            ["greater than 0"],
            id="the last nothing",
        ),
        pytest.param(
            in_claim("bound", value=3),
            "claims.many",
            ["unknown key 'bound'", "known are expected, place, quantity, says, scales, table"],
            id="unknown key of a claim",
        ),
        pytest.param(
            in_figure("claims", value={"Falls fast": {}}),
            "claims",
            ["'Falls fast'", "is not a possible name"],
            id="impossible name",
        ),
        pytest.param(
            in_figure("tables", "runs", "runs", 0, "sweep", "seed", value=[]),
            "tables.runs.runs[0].sweep.seed",
            ["is empty", "at least one"],
            id="no seeds",
        ),
    ],
)
def test_one_sentence_for_what_is_wrong(
    edit: Edit, key: str, told: list[str], tmp_path: Path
) -> None:
    study = copy.deepcopy(STUDY)
    edit(study["figures"]["fig1"])
    with pytest.raises(PerigeeError) as caught:
        claims_of(tmp_path, study, "laptop")
    sentence = str(caught.value)
    for part in (f"{tmp_path / 'mine.yaml'}: ", f"'figures.fig1.{key}'", *told):
        assert part in sentence, sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


# Rows that a claim tells by a text

LABELLED = yaml.safe_load("""
title: t
tables:
  runs:
    analysis: {name: period_statistics}
    runs:
      - {base: base, label: none, epochs: 3, sweep: {seed: [0, 1]}}
      - label: momentum
        base: base
        set: {optimiser.momentum: 0.9}
        epochs: 3
        sweep:
          precision: {smoke: [tf32], laptop: [float32, float64], paper: [float32]}
          seed: [0, 1]
  plain:
    analysis: {name: run_metrics}
    runs: [{base: base, epochs: 3, sweep: {seed: [0, 1]}}]
claims:
  more:
    says: There are more.
    place: Figure 1
    table: runs
    quantity: {name: column_ratio, column: x, statistic: first, over: {}, under: {}}
    expected: {at_least: 2}
""")


def with_rows(table: str, scales: list[str], **rows: Any) -> dict[str, Any]:
    figure = copy.deepcopy(LABELLED)
    figure["claims"]["more"] |= {"table": table, "scales": scales}
    figure["claims"]["more"]["quantity"] |= rows
    return {**STUDY, "figures": {"fig1": figure}}


@pytest.mark.parametrize(
    ("table", "parameter", "rows", "told"),
    [
        (
            "runs",
            "over",
            {"label": "momentumm"},
            "'momentumm', which no run of table 'runs' has; did you mean 'momentum'? "
            "(known are momentum, none).",
        ),
        ("runs", "under", {"seed": 0, "label": "wide"}, "'wide', which no run of table 'runs'"),
        ("runs", "under", {"precision": "float16"}, "'float16', which no run of table 'runs'"),
        ("runs", "under", {"seed": "zero"}, "'zero', which no run of table 'runs'"),
        ("plain", "over", {"label": "none"}, "'none', which no run of table 'plain' has; none is"),
        (
            "runs",
            "over",
            {"precision": {"smoke": "tf32", "laptop": "tf32", "paper": "float32"}},
            "'tf32', which no run of table 'runs' has; known are float32, float64.",
        ),
    ],
)
def test_a_text_that_no_run_has_is_refused(
    table: str, parameter: str, rows: dict[str, Any], told: str, tmp_path: Path
) -> None:
    study = with_rows(table, ["laptop"], **{parameter: rows})
    with pytest.raises(PerigeeError) as caught:
        claims_of(tmp_path, study, "laptop")
    key = f"figures.fig1.claims.more.quantity.{parameter}.{list(rows)[-1]}"
    start = f"{tmp_path / 'mine.yaml'}: key '{key}' is {told}"
    assert str(caught.value).startswith(start), str(caught.value)
    # Where the claim is not to be tested, nothing of it need be there.
    assert len(claims_of(tmp_path, study, "smoke")) == 1


def test_a_text_in_a_statistics_rows_is_looked_at_too(tmp_path: Path) -> None:
    study = with_rows("runs", ["laptop"])
    study["figures"]["fig1"]["claims"]["more"]["quantity"] = {
        "name": "column_statistic",
        "column": "x",
        "statistic": "first",
        "where": {"label": "momentumm"},
    }
    with pytest.raises(PerigeeError, match=r"quantity\.where\.label' is 'momentumm'"):
        claims_of(tmp_path, study, "laptop")


@pytest.mark.parametrize(
    "rows",
    [
        {"label": "momentum", "precision": "float64", "seed": 1},
        {"phase": "B"},  # of the table, and not of its runs
        {"seed": 7},  # a number of no run makes a claim that is not testable
    ],
)
def test_other_rows_are_left_to_judging(rows: dict[str, Any], tmp_path: Path) -> None:
    (claim,) = claims_of(tmp_path, with_rows("runs", ["laptop"], over=rows), "laptop")
    assert claim.quantity.parameters["over"] == rows

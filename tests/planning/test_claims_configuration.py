"""Mistakes in a study's claims are reported in one sentence with file and key."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perigee.blocks.quantities import Column, DestabilisationCount
from perigee.errors import PerigeeError
from perigee.spec import Claim
from support.configuration import SCALES, figure_of

FIGURE = yaml.safe_load("""
title: t
runs:
  rates:
    run: base
    epochs: 3
    sweep: {optimiser.learning_rate: {low: 0.2, high: 0.3, spare: 0.4}, seed: [0, 1]}
tables:
  runs: {analysis: {name: run_metrics}, runs: [rates]}
  formula: {analysis: {name: toy_gradient_identities, points: 3, factors: [2], seed: 0}}
claims:
  falls:
    says: It falls.
    place: Figure 1
    kind: identity
    unit: point
    table: formula
    quantity: {column: x, where: {factor: "2e0"}}
    within_seed: maximum
    expected: {at_most: 1e-3}
  many:
    says: There are many.
    place: Section 2
    kind: rate
    unit: destabilisation
    table: runs
    quantity: {name: destabilisation_count, learning_rates: [low], statistic: minimum}
    expected: {at_least: 2}
""")
BELOW = {"low": 0.1, "high": 0.2, "spare": None}
PAPER = {
    "citation": "Someone 2020",
    "runs": {
        "base": {
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", "width": 2, "scale_invariant": True},
            "optimiser": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01},
            "batch_size": 128,
            "seed": 0,
        }
    },
    "figures": {"fig1": FIGURE},
    "overlays": {
        scale: {"fig1": {"runs": {"rates": {"sweep": {"optimiser.learning_rate": BELOW}}}}}
        for scale in ("smoke", "laptop")
    },
}

Edit = Callable[[dict[str, Any]], None]


def claims_of(folder: Path, paper: dict[str, Any], scale: str) -> tuple[Claim, ...]:
    return figure_of(folder, {"mine": paper}, "mine_fig1", scale).claims


@pytest.mark.parametrize("scale", SCALES)
def test_claims_are_read_with_defaults_and_values_of_the_scale(scale: str, tmp_path: Path) -> None:
    falls, many = claims_of(tmp_path, PAPER, scale)
    assert falls == Claim(
        name="falls",
        says="It falls.",
        source="Someone 2020, Figure 1",
        table="formula",
        kind="identity",
        unit="point",
        quantity=Column(column="x", where={"factor": 2}),
        within_seed="maximum",
        locked="not locked",
        relation="at_most",
        bound=0.001,
        testable=True,
    )
    rates = [0.2] if scale == "paper" else [0.1]
    assert many.quantity == DestabilisationCount(learning_rates=rates, statistic="minimum")
    assert many.testable == (scale != "smoke")


def test_a_figure_may_have_no_claims(tmp_path: Path) -> None:
    paper = copy.deepcopy(PAPER)
    del paper["figures"]["fig1"]["claims"]
    assert claims_of(tmp_path, paper, "laptop") == ()


def test_a_scale_may_leave_a_claim_untested(tmp_path: Path) -> None:
    paper = copy.deepcopy(PAPER)
    paper["overlays"]["laptop"]["fig1"]["untestable"] = {"falls": "There are too few points."}
    assert [claim.testable for claim in claims_of(tmp_path, paper, "laptop")] == [False, True]
    assert [claim.testable for claim in claims_of(tmp_path, paper, "paper")] == [True, True]


@pytest.mark.parametrize(
    ("named", "laptop", "paper"),
    [
        (["low", "high"], [0.1, 0.2], [0.2, 0.3]),
        (["all"], [0.1, 0.2], [0.2, 0.3, 0.4]),
        ("all", [0.1, 0.2], [0.2, 0.3, 0.4]),
        (["lowest", "highest"], [0.1, 0.2], [0.2, 0.4]),
        (["rates.high"], [0.2], [0.3]),
    ],
)
def test_names_stand_for_the_scales_numbers(
    named: Any, laptop: list[float], paper: list[float], tmp_path: Path
) -> None:
    document = copy.deepcopy(PAPER)
    document["figures"]["fig1"]["claims"]["many"]["quantity"]["learning_rates"] = named
    for scale, expected in (("laptop", laptop), ("paper", paper)):
        (_, many) = claims_of(tmp_path, document, scale)
        assert many.quantity.parameters["learning_rates"] == expected
        assert many.testable


def test_a_name_that_the_scale_drops_leaves_the_claim_untested(tmp_path: Path) -> None:
    document = copy.deepcopy(PAPER)
    document["figures"]["fig1"]["claims"]["many"]["quantity"]["learning_rates"] = ["spare"]
    assert [claims_of(tmp_path, document, s)[1].testable for s in ("laptop", "paper")] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ({"name": "norm_prediction_error"}, {"weight_decay": 0.01}),
        ({"name": "norm_prediction_error", "weight_decay": 0.5}, {"weight_decay": 0.5}),
    ],
)
def test_settings_of_the_runs(
    quantity: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    document = copy.deepcopy(PAPER)
    document["figures"]["fig1"]["claims"]["many"]["quantity"] = quantity
    (_, many) = claims_of(tmp_path, document, "laptop")
    assert many.quantity.parameters == expected


def test_rows_are_told_by_names(tmp_path: Path) -> None:
    document = copy.deepcopy(PAPER)
    rows = {"optimiser.learning_rate": "high", "seed": "highest", "phase": "lowest"}
    document["figures"]["fig1"]["claims"]["many"] |= {
        "quantity": {"column": "x", "where": rows},
        "within_seed": "first",
    }
    (_, many) = claims_of(tmp_path, document, "laptop")
    assert many.quantity.parameters["where"] == {
        "optimiser.learning_rate": 0.2,
        "seed": 1,
        "phase": "lowest",  # a column of the table that is not a setting
    }


def test_several_values_of_the_runs_are_not_one(tmp_path: Path) -> None:
    document = copy.deepcopy(PAPER)
    figure = document["figures"]["fig1"]
    figure["runs"]["rates"]["sweep"]["optimiser.weight_decay"] = [0.1, 0.2]
    figure["claims"]["many"]["quantity"] = {"name": "norm_prediction_error"}
    told = r"quantity\.weight_decay' is missing, and the runs of table 'runs' have several values"
    with pytest.raises(PerigeeError, match=told):
        claims_of(tmp_path, document, "laptop")


def in_claim(*path: str, value: Any) -> Edit:
    return in_figure("claims", "many", *path, value=value)


PREMISE = {
    "table": "runs",
    "quantity": {"column": "x"},
    "within_seed": "first",
    "expected": {"at_least": 1},
}


RATIO = {
    "column": "x",
    "over": {"optimiser.learning_rate": "low"},
    "under": {"optimiser.learning_rate": "high"},
}
SHARED = {"quantity": {"column": "x"}, "kind": "mean", "within_seed": "mean", "shared": "image"}
BORDER = {
    "column": "x",
    "against": "optimiser.learning_rate",
    "border": {"at_most": 1},
}


def changing(**values: Any) -> Edit:
    """Several keys of a claim, changed together."""
    return lambda figure: figure["claims"]["many"].update(values)


def without(key: str) -> Edit:
    def edit(figure: dict[str, Any]) -> None:
        del figure["claims"]["many"][key]

    return edit


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
            ["must have a column, or the name of a quantity"],
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
            in_claim("scales", value=["laptop"]),
            "claims.many",
            ["unknown key 'scales'", "known are draws, expected, given, kind"],
            id="scales of its own",
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
            in_claim("quantity", "learning_rates", value=["low", 0.1]),
            "claims.many.quantity.learning_rates",
            ["is 0.1, but the sweep gives its values", "names; write one of high, low"],
            id="a number where values have names",
        ),
        pytest.param(
            in_claim("quantity", "learning_rates", value=["lwo"]),
            "claims.many.quantity.learning_rates",
            [
                "'lwo', which no run of table 'runs' has",
                "did you mean 'low'? (known are all, high, highest, low, lowest, spare)",
            ],
            id="a name that no sweep has",
        ),
        pytest.param(
            in_claim("quantity", "learning_rates", value=["rate.low"]),
            "claims.many.quantity.learning_rates",
            ["'rate.low', which no run of table 'runs' has"],
            id="a name of runs that the table does not read",
        ),
        pytest.param(
            in_claim(
                "quantity",
                value={"column": "x", "where": {"optimiser.learning_rate": "all"}},
            ),
            "claims.many.quantity.where.optimiser.learning_rate",
            ["is 'all', which is 3 values; name one of them"],
            id="rows of several settings",
        ),
        pytest.param(
            in_claim(
                "quantity",
                value={"column": "x", "where": {"optimiser.learnin_rate": "low"}},
            ),
            "claims.many.quantity.where.optimiser.learnin_rate",
            ["does not tell its runs apart", "did you mean 'optimiser.learning_rate'"],
            id="rows of a misspelt setting",
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
            in_claim("kind", value="rates"),
            "claims.many.kind",
            ["is 'rates'; did you mean 'rate'? (known are different, equivalent, identity,"],
            id="unknown kind",
        ),
        pytest.param(
            in_claim("unit", value="runs"),
            "claims.many.unit",
            ["is 'runs'; did you mean 'run'?"],
            id="unknown unit",
        ),
        pytest.param(
            without("kind"), "claims.many", ["key 'kind'", "is missing; add it"], id="no kind"
        ),
        pytest.param(
            in_claim("within_seed", value="median"),
            "claims.many.within_seed",
            ["the quantity 'destabilisation_count' gives one number a seed itself; remove it"],
            id="a statistic of one number",
        ),
        pytest.param(
            changing(quantity={"column": "x"}),
            "claims.many.within_seed",
            ["is missing; name the statistic that makes one number a seed of column 'x'"],
            id="no statistic of a column",
        ),
        pytest.param(
            changing(quantity={"column": "x"}, within_seed="kendall"),
            "claims.many.within_seed",
            ["needs the column that the trend is taken against", "quantity.against'"],
            id="a trend against nothing",
        ),
        pytest.param(
            changing(quantity={"column": "x", "against": "epoch"}, within_seed="median"),
            "claims.many.within_seed",
            ["is not that of a trend; take one of kendall, log_slope, spearman"],
            id="a statistic against a column",
        ),
        pytest.param(
            changing(
                quantity={"column": "x", "against": "optimiser.learnin_rate"},
                within_seed="kendall",
            ),
            "claims.many.quantity.against",
            ["table 'runs' does not tell its runs apart", "did you mean 'optimiser.learning_rate'"],
            id="a trend against a misspelt setting",
        ),
        pytest.param(
            changing(quantity={**BORDER, "against": "optimiser.learnin_rate"}, within_seed="first"),
            "claims.many.quantity.against",
            ["table 'runs' does not tell its runs apart", "did you mean 'optimiser.learning_rate'"],
            id="a border along a misspelt setting",
        ),
        pytest.param(
            changing(quantity=BORDER, within_seed="kendall"),
            "claims.many.within_seed",
            ["is 'kendall', which is that of a trend", "has a border; take another one, such as"],
            id="a trend of a border",
        ),
        pytest.param(
            changing(quantity={"column": "x", "border": {"at_most": 1}}, within_seed="first"),
            "claims.many.quantity",
            ["must have 'against' beside 'border'"],
            id="a border along nothing",
        ),
        pytest.param(
            changing(quantity={**BORDER, "border": {"below": 1}}, within_seed="first"),
            "claims.many.quantity.border",
            ["must be one or more of the relations at_least, at_most"],
            id="a border of an unknown relation",
        ),
        pytest.param(
            changing(quantity={**BORDER, "border": {}}, within_seed="first"),
            "claims.many.quantity.border",
            ["must be one or more of the relations at_least, at_most"],
            id="a border of no relation",
        ),
        pytest.param(
            changing(quantity={**BORDER, "border": 0.05}, within_seed="first"),
            "claims.many.quantity.border",
            ["must be a relation such as {at_most: 0.05}"],
            id="a border that is a number",
        ),
        pytest.param(
            changing(quantity=BORDER, within_seed="first", kind="trend"),
            "claims.many.kind",
            ["is 'trend', but the quantity is not one"],
            id="a border as a trend",
        ),
        pytest.param(
            changing(quantity={"column": "x"}, within_seed="first", kind="trend"),
            "claims.many.kind",
            ["is 'trend', but the quantity is not one"],
            id="a trend of one column",
        ),
        pytest.param(
            in_claim("kind", value="equivalent"),
            "claims.many.margin",
            ["is missing, but the kind is 'equivalent'"],
            id="equivalence without a margin",
        ),
        pytest.param(
            changing(kind="equivalent", margin=1),
            "claims.many.expected",
            ["is 'at_least', but the kind is 'equivalent'; take equal_to"],
            id="equivalence to at least something",
        ),
        pytest.param(
            in_claim("kind", value="different"),
            "claims.many.margin",
            ["is missing, but the kind is 'different'"],
            id="a difference without a margin",
        ),
        pytest.param(
            changing(kind="different", margin=1, expected={"equal_to": 0}),
            "claims.many.expected",
            ["is 'equal_to', but the kind is 'different'; take different_from"],
            id="a difference that is equal",
        ),
        pytest.param(
            changing(kind="mean", expected={"different_from": 0}),
            "claims.many.expected",
            ["is 'different_from', which no mean", "make the kind different, with a margin"],
            id="a mean that is different",
        ),
        pytest.param(
            in_claim("margin", value=0.1),
            "claims.many.margin",
            ["is given, but the kind is 'rate'; remove it"],
            id="the margin of a rate",
        ),
        pytest.param(
            in_claim("margin", value=-1), "claims.many.margin", ["greater than 0"], id="no margin"
        ),
        pytest.param(
            changing(kind="mean", expected={"equal_to": 0}),
            "claims.many.expected",
            ["is 'equal_to', which no mean over seeds can show; make the kind equivalent"],
            id="a mean that is equal",
        ),
        pytest.param(
            changing(
                kind="equivalent",
                margin=0.5,
                expected={"equal_to": 1},
                quantity={"column": "x", "over": {"phase": "A"}, "under": {"phase": "B"}},
                within_seed="mean",
            ),
            "claims.many.margin",
            ["is 0.5, but of a ratio the margin is a factor; it must be greater than 1"],
            id="a factor below 1",
        ),
        *(
            pytest.param(
                changing(**{**SHARED, **changed}),
                "claims.many.shared",
                ["is 'image', but only means of a column, within each seed and over seeds"],
                id=f"what seeds share, {name}",
            )
            for name, changed in (
                ("of a rate", {"kind": "rate"}),
                ("of medians", {"within_seed": "median"}),
                ("of a ratio that is not pooled", {"quantity": RATIO}),
                ("of a border", {"quantity": BORDER}),
            )
        ),
        pytest.param(
            in_claim("pooled", value=True),
            "claims.many.pooled",
            ["only the mean of a ratio can be pooled"],
            id="a pooled rate",
        ),
        pytest.param(
            changing(quantity={"column": "x", "over": {"phase": "A"}}, within_seed="mean"),
            "claims.many.quantity",
            ["must have 'under' beside 'over'"],
            id="half a ratio",
        ),
        pytest.param(
            changing(
                quantity={"column": "x", "plus": {}, "minus": {}, "against": "epoch"},
                within_seed="mean",
            ),
            "claims.many.quantity",
            ["must not have 'plus' and 'against' both"],
            id="a difference that is a trend",
        ),
        pytest.param(
            changing(quantity={"column": "x", "where": {"n": {"atleast": 2}}}, within_seed="mean"),
            "claims.many.quantity.where.n",
            ["one or more of the relations at_least, at_most, greater_than, less_than, equal_to"],
            id="unknown relation of rows",
        ),
        pytest.param(
            changing(quantity={"column": "x", "where": {"n": {"at_least": "B"}}}, within_seed="sd"),
            "claims.many.quantity.where.n",
            ["of type number"],
            id="rows at least a word",
        ),
        pytest.param(
            in_claim("given", value={**PREMISE, "table": "periods"}),
            "claims.many.given.table",
            ["'periods', which is not a table of the figure; known are formula, runs"],
            id="a premise on the table of another figure",
        ),
        pytest.param(
            in_claim("given", value={**PREMISE, "kind": "rate"}),
            "claims.many.given",
            ["unknown key 'kind'", "known are expected, quantity, table, within_seed"],
            id="a premise with a kind",
        ),
        pytest.param(
            in_claim(
                "given",
                value={**PREMISE, "quantity": {"column": "x", "where": {"seed": "zero"}}},
            ),
            "claims.many.given.quantity.where.seed",
            ["'zero', which no run of table 'runs' has"],
            id="a premise on unknown runs",
        ),
        pytest.param(
            in_claim("bound", value=3),
            "claims.many",
            [
                "unknown key 'bound'",
                "quantity, says, seen, shared, table, unit, within_seed",
            ],
            id="unknown key of a claim",
        ),
        pytest.param(
            in_figure("claims", value={"Falls fast": {}}),
            "claims",
            ["'Falls fast'", "is not a possible name"],
            id="impossible name",
        ),
    ],
)
def test_one_sentence_for_what_is_wrong(
    edit: Edit, key: str, told: list[str], tmp_path: Path
) -> None:
    paper = copy.deepcopy(PAPER)
    edit(paper["figures"]["fig1"])
    with pytest.raises(PerigeeError) as caught:
        claims_of(tmp_path, paper, "laptop")
    sentence = str(caught.value)
    for part in (f"'{key}'", *told):
        assert part in sentence, sentence
    assert sentence.startswith("config/papers/mine/claims/fig1.yaml: ")
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_a_premise_and_all_parts_of_a_claim_are_read(tmp_path: Path) -> None:
    paper = copy.deepcopy(PAPER)
    changing(
        kind="mean",
        pooled=True,
        quantity={
            "column": "x",
            "over": {"optimiser.learning_rate": {"at_least": "high"}},
            "under": {"optimiser.learning_rate": "low", "n": {"greater_than": 0, "at_most": 5}},
        },
        within_seed="sum",
        given=PREMISE | {"quantity": {"column": "n", "where": {"optimiser.learning_rate": "low"}}},
    )(paper["figures"]["fig1"])
    (_, many) = claims_of(tmp_path, paper, "laptop")
    assert (many.kind, many.unit, many.pooled, many.within_seed) == (
        "mean",
        "destabilisation",
        True,
        "sum",
    )
    assert many.quantity.parameters["over"] == {"optimiser.learning_rate": {"at_least": 0.2}}
    assert many.quantity.parameters["under"] == {
        "optimiser.learning_rate": 0.1,
        "n": {"greater_than": 0, "at_most": 5},
    }
    assert many.given is not None
    assert (many.given.relation, many.given.bound, many.given.within_seed) == (
        "at_least",
        1,
        "first",
    )
    assert many.given.quantity.parameters["where"] == {"optimiser.learning_rate": 0.1}
    assert many.testable


def test_a_premise_on_a_setting_that_the_scale_drops_leaves_the_claim_untested(
    tmp_path: Path,
) -> None:
    paper = copy.deepcopy(PAPER)
    spare = {"column": "n", "where": {"optimiser.learning_rate": "spare"}}
    changing(given=PREMISE | {"quantity": spare})(paper["figures"]["fig1"])
    assert [claims_of(tmp_path, paper, s)[1].testable for s in ("laptop", "paper")] == [False, True]


def test_seeds_that_were_in_view_are_told(tmp_path: Path) -> None:
    paper = copy.deepcopy(PAPER)
    changing(
        seen={
            "expected": {"saw": "All.", "seeds": [2, 0]},
            "quantity": {"saw": "Some.", "seeds": [0]},
        }
    )(paper["figures"]["fig1"])
    assert [claim.seen for claim in claims_of(tmp_path, paper, "laptop")] == ["", "seeds 0, 2"]
    changing(seen={"expected": {"saw": "All."}})(paper["figures"]["fig1"])
    assert [claim.seen for claim in claims_of(tmp_path, paper, "laptop")] == ["", "yes"]


# Rows that a claim tells by a text

LABELLED = yaml.safe_load("""
title: t
runs:
  none: {run: base, label: none, epochs: 3, sweep: {seed: [0, 1]}}
  momentum:
    label: momentum
    run: base
    set: {optimiser.momentum: 0.9}
    epochs: 3
    sweep: {precision: [float32], seed: [0, 1]}
  plain: {run: base, epochs: 3, sweep: {seed: [0, 1]}}
tables:
  runs: {analysis: {name: period_statistics}, runs: [none, momentum]}
  plain: {analysis: {name: run_metrics}, runs: [plain]}
claims:
  more:
    says: There are more.
    place: Figure 1
    kind: rate
    unit: run
    table: runs
    quantity: {column: x, over: {}, under: {}}
    within_seed: first
    expected: {at_least: 2}
""")


def with_rows(table: str, **rows: Any) -> dict[str, Any]:
    figure = copy.deepcopy(LABELLED)
    figure["claims"]["more"]["table"] = table
    figure["claims"]["more"]["quantity"] |= rows
    precisions = {"smoke": ["tf32"], "laptop": ["float32", "float64"]}
    overlays = {
        scale: {"fig1": {"runs": {"momentum": {"sweep": {"precision": values}}}}}
        for scale, values in precisions.items()
    }
    return {**PAPER, "figures": {"fig1": figure}, "overlays": overlays}


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
            {"precision": "tf32"},
            "'tf32', which no run of table 'runs' has; known are float32.",
        ),
    ],
)
def test_a_text_that_no_run_has_is_refused(
    table: str, parameter: str, rows: dict[str, Any], told: str, tmp_path: Path
) -> None:
    paper = with_rows(table, **{parameter: rows})
    with pytest.raises(PerigeeError) as caught:
        claims_of(tmp_path, paper, "laptop")
    key = f"claims.more.quantity.{parameter}.{list(rows)[-1]}"
    start = f"config/papers/mine/claims/fig1.yaml: key '{key}' is {told}"
    assert str(caught.value).startswith(start), str(caught.value)


def test_rows_of_a_claim_that_is_not_tested_need_not_be_there(tmp_path: Path) -> None:
    paper = with_rows("runs", over={"precision": "float32"})  # at smoke scale there is tf32 alone
    assert not claims_of(tmp_path, paper, "smoke")[0].testable


def test_a_text_in_a_statistics_rows_is_looked_at_too(tmp_path: Path) -> None:
    paper = with_rows("runs")
    paper["figures"]["fig1"]["claims"]["more"]["quantity"] = {
        "column": "x",
        "where": {"label": "momentumm"},
    }
    with pytest.raises(PerigeeError, match=r"quantity\.where\.label' is 'momentumm'"):
        claims_of(tmp_path, paper, "laptop")


@pytest.mark.parametrize(
    "rows",
    [
        {"label": "momentum", "precision": "float32", "seed": 1},
        {"phase": "B"},  # of the table, and not of its runs
        {"seed": 7},  # a number of no run makes a claim that is not testable
    ],
)
def test_other_rows_are_left_to_judging(rows: dict[str, Any], tmp_path: Path) -> None:
    (claim,) = claims_of(tmp_path, with_rows("runs", over=rows), "laptop")
    assert claim.quantity.parameters["over"] == rows

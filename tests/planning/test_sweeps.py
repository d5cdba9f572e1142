"""A short study file becomes a figure, its tables and its runs; a wrong one is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.constraints import Unconstrained
from perigee.blocks.quantities import Quantity
from perigee.configuration.overlays import merged
from perigee.configuration.requests import FigureRequest
from perigee.errors import PerigeeError
from perigee.paths import ROOT
from perigee.planning.layout import Layout
from perigee.planning.plan import Plan, references
from perigee.registry import REGISTRY
from perigee.store.figures import published_names
from support import configuration
from support.configuration import SCALES, shipped_paper

Request = Callable[..., FigureRequest]

MINE: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "run": "periodic.si_convnet",
    "epochs": 30,
    "sweep": {"seed": [1, 0], "optimiser.weight_decay": [0.1, 0.001]},
    "scales": {"smoke": {"epochs": 2}, "paper": {"epochs": 100}},
}
CLAIM = {
    "says": "It does.",
    "table": "periods",
    "quantity": {
        "column": "destabilisations",
        "over": {"optimiser.weight_decay": 0.1},
        "under": {"optimiser.weight_decay": 0.001},
    },
    "within_seed": "first",
    "expected": {"greater_than": 1},
}
NAMED = {key: value for key, value in CLAIM.items() if key != "within_seed"}
"""The same for a quantity with a name, which gives one number a seed."""

NUMBERS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
PAPERS = ["periodic", "regimes"]


PERIODIC = shipped_paper("periodic", ["fig2", "fig3"])
REGIMES = shipped_paper("regimes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Gets the configuration."""
    return tmp_path


def plan_with(folder: Path, document: dict[str, Any], scale: str = "smoke") -> Plan:
    return plan_of(folder, document, scale=scale)


def plan_of(
    folder: Path,
    *studies: dict[str, Any],
    scale: str = "smoke",
    papers: Sequence[str] = PAPERS,
    **others: Any,
) -> Plan:
    documents = {"periodic": PERIODIC, "regimes": REGIMES, **others}
    documents |= {document["study"]: document for document in studies}
    return configuration.plan_of(folder, documents, scale, papers)


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    """The figure of a study."""

    def request(document: dict[str, Any], scale: str = "smoke") -> FigureRequest:
        documents = {"periodic": PERIODIC, "mine": document}
        return configuration.figure_of(tmp_path, documents, "study_mine", scale)

    return request


def changed(**changes: Any) -> dict[str, Any]:
    """The file with other keys; what is None is left out."""
    document = {**copy.deepcopy(MINE), **changes}
    return {key: value for key, value in document.items() if value is not None}


# What it becomes


@pytest.mark.parametrize(("scale", "epochs"), [("smoke", 2), ("laptop", 30), ("paper", 100)])
def test_it_has_all_combinations_of_the_swept_values(
    scale: str, epochs: int, request_of: Request
) -> None:
    figure = request_of(MINE, scale)
    assert figure.key == "study_mine"
    assert [table.name for table in figure.tables] == ["runs", "periods"]
    assert [table.analysis.name for table in figure.tables] == ["run_metrics", "period_statistics"]
    for table in figure.tables:
        found = [(run.swept["optimiser.weight_decay"], run.swept["seed"]) for run in table.runs]
        assert sorted(found) == [(0.001, 0), (0.001, 1), (0.1, 0), (0.1, 1)]
        for run in table.runs:
            assert run.epochs == epochs
            assert (
                run.spec.optimiser.parameters["weight_decay"]
                == (run.swept["optimiser.weight_decay"])
            )
            assert run.spec.seed == run.swept["seed"]


@pytest.mark.parametrize("scale", SCALES)
def test_all_else_is_the_base_run_at_the_scale(
    scale: str, folder: Path, request_of: Request
) -> None:
    documents = {"periodic": PERIODIC}
    fig3 = configuration.figure_of(folder, documents, "periodic_fig3", scale)
    base = fig3.tables[0].runs[0].spec
    rate = base.optimiser.parameters["learning_rate"]
    decay = base.optimiser.parameters["weight_decay"]
    sweep = {"optimiser.weight_decay": [decay], "seed": [base.seed]}
    (run,) = (
        request_of(changed(sweep=sweep, set={"optimiser.learning_rate": rate}), scale)
        .tables[0]
        .runs
    )
    assert run.spec == base


def test_the_same_run_of_a_paper_is_not_trained_twice(folder: Path) -> None:
    document = changed(
        set={"optimiser.learning_rate": 0.3},
        epochs=4,
        scales=None,
        sweep={"optimiser.weight_decay": [0.01, 0.02], "seed": [10]},
    )
    papers = set(plan_of(folder).runs)
    assert len(set(plan_with(folder, document).runs) - papers) == 1


def test_a_run_may_be_written_out(request_of: Request) -> None:
    paper = PERIODIC["runs"]["si_convnet"]
    overlay = PERIODIC["overlays"]["smoke"]["paper"]["runs"]["si_convnet"]
    run = merged(paper, overlay, "")
    assert request_of(changed(run=run)).tables == request_of(MINE).tables


def test_a_base_may_be_a_fork(folder: Path) -> None:
    periodic = copy.deepcopy(PERIODIC)
    periodic["runs"]["fork"] = {
        "parent": {"run": "si_convnet", "epochs": 3, "at": {"name": "at_epoch", "epoch": 2}},
        "constraint": {"name": "fixed_norm"},
    }
    document = changed(run="periodic.fork", sweep={"constraint.norm": [1, 2]})
    figure = configuration.figure_of(folder, {"periodic": periodic, "mine": document}, "study_mine")
    runs = figure.tables[0].runs
    assert [run.spec.constraint.parameters["norm"] for run in runs] == [1, 2]
    for run in runs:
        assert run.spec.parent is not None
        unforked = {"parent": None, "constraint": Unconstrained()}
        assert run.spec.parent.run == run.spec.model_copy(update=unforked)


def test_a_block_that_the_base_run_leaves_out_can_be_swept(request_of: Request) -> None:
    assert "loss" not in PERIODIC["runs"]["si_convnet"]
    sweep = {"loss.label_smoothing": [0.0, 0.5]}
    runs = request_of(changed(sweep=sweep)).tables[0].runs
    assert [run.spec.loss.parameters["label_smoothing"] for run in runs] == [0, 0.5]
    assert runs[0].spec == request_of(changed(sweep={"batch_size": [128]})).tables[0].runs[0].spec


@pytest.mark.parametrize(
    ("sweep", "settings"),
    [
        ({"seed": [0], "model.width": [1, 2]}, ["model.width"]),
        ({"seed": [0, 1]}, []),
        (
            {"model.width": [1, 2], "batch_size": [8, 9], "seed": [0]},
            ["model.width", "batch_size"],
        ),
        (
            {"batch_size": [8, 9], "model.width": [1, 2], "seed": [0]},
            ["batch_size", "model.width"],
        ),
    ],
)
def test_the_notebook_is_told_what_to_draw(
    sweep: dict[str, Any], settings: list[str], request_of: Request
) -> None:
    panels = ["period_statistics", "train_error"]
    figure = request_of(changed(sweep=sweep, panels=panels))
    assert figure.parameters == {"panels": panels, "settings": settings}


def test_what_is_drawn_is_part_of_the_figures_identity(folder: Path) -> None:
    plans = [
        plan_with(folder, changed(panels=panels))
        for panels in (["train_loss"], ["train_loss", "test_error"])
    ]
    one, two = (plan.figures["study_mine"] for plan in plans)
    assert one.identity.digest != two.identity.digest
    assert set(one.products) ^ set(two.products) == {one.folder, two.folder}


def test_five_panels_are_drawn_if_none_are_named(request_of: Request) -> None:
    assert request_of(MINE).parameters["panels"] == [
        "train_loss",
        "test_error",
        "weight_norm",
        "phase_diagram",
        "period_statistics",
    ]


def test_a_claim_is_measured_on_its_tables(request_of: Request) -> None:
    figure = request_of(changed(claims={"it_matters": CLAIM}), "laptop")
    (claim,) = figure.claims
    assert (claim.name, claim.table, claim.relation, claim.bound, claim.testable) == (
        "it_matters",
        "periods",
        "greater_than",
        1,
        True,
    )
    assert "config/studies/mine.yaml" in claim.source
    with_place = changed(claims={"it_matters": {**CLAIM, "place": "my notes"}})
    assert request_of(with_place).claims[0].source.endswith("my notes")


def test_which_column_tells_phase_b_reaches_the_analyses(request_of: Request) -> None:
    for given, expected in (({}, "train_loss"), ({"near_zero": "train_error"}, "train_error")):
        (_, *others) = request_of(changed(**given, panels=["similarity"])).tables
        assert [table.name for table in others] == ["periods", "similarity"]
        for table in others:
            assert table.analysis.parameters["near_zero"] == expected


def test_similarity_reads_the_same_runs_with_checkpoints(request_of: Request) -> None:
    figure = request_of(changed(panels=["similarity"], checkpoint_interval=5))
    plain, _, similarity = figure.tables
    assert similarity.name == similarity.analysis.name == "similarity"
    assert {run.checkpoint_interval for run in similarity.runs} == {5}
    assert similarity.runs == plain.runs
    assert "checkpoints" in {measure.name for measure in similarity.analysis.measures(5)}
    assert "checkpoints" not in {measure.name for measure in plain.analysis.measures(5)}


def test_similarity_needs_two_seeds(request_of: Request) -> None:
    sweep = {"seed": [3], "optimiser.weight_decay": [0.1, 0.2]}
    with pytest.raises(PerigeeError, match="'similarity', which compares each run with one of an"):
        request_of(changed(panels=["similarity"], sweep=sweep))


RATES = {"learning_rates": [0.1]}
BY_LOSS = {
    "destabilisation_count": RATES | {"statistic": "minimum"},
}


@pytest.mark.parametrize("name", BY_LOSS)
def test_periods_of_a_claim_are_not_found_by_another_column(name: str, request_of: Request) -> None:
    claim = {**NAMED, "table": "runs", "quantity": {"name": name, **BY_LOSS[name]}}
    assert len(request_of(changed(claims={"it_matters": claim})).claims) == 1
    with pytest.raises(PerigeeError) as caught:
        request_of(changed(claims={"it_matters": claim}, near_zero="train_error"))
    sentence = str(caught.value)
    for part in (
        "config/studies/mine.yaml: key 'claims.it_matters.quantity' is",
        f"'{name}'",
        "'near_zero' is 'train_error'",
        "table 'periods'",
        "destabilisations, destabilises, first_destabilisation, warm_up_epochs",
    ):
        assert part in sentence, sentence


def test_quantities_that_find_no_periods_go_with_either_column(request_of: Request) -> None:
    error = {"name": "norm_prediction_error", "weight_decay": 0.1}
    claims = {"one": {**NAMED, "table": "runs", "quantity": error}, "other": CLAIM}
    assert len(request_of(changed(claims=claims, near_zero="train_error")).claims) == 2


def test_every_quantity_that_finds_periods_is_known_to() -> None:
    for name, block in REGISTRY["quantity"].items():
        assert issubclass(block, Quantity)
        module = block.code.partition(":")[0].replace(".", "/")
        source = (ROOT / "workflow" / f"{module}.py").read_text()
        assert block.finds_periods == ("find_destabilisations" in source) == (name in BY_LOSS), name


# Its place in the plan


def test_it_is_no_paper_and_has_no_deviations(folder: Path) -> None:
    papers = plan_of(folder)
    plan = plan_with(folder, MINE)
    assert list(plan.figures)[-1] == "study_mine"
    assert "study_mine" not in plan.of_papers.figures
    assert plan.of_papers.figures == papers.figures
    stamp = plan.figures["study_mine"].stamp
    assert stamp == {"scale": "smoke", "source": "mine: Does weight decay matter?"}


def test_the_store_keeps_its_products_whether_it_was_made_or_not(folder: Path) -> None:
    plan = plan_with(folder, MINE)
    own = plan.of_figures(["study_mine"])
    needed = references([plan], folder / "store")
    assert len(own.runs) == 4
    for product in own.products:
        assert "study_mine" in needed[product]


def test_it_is_reported_from_when_it_is_made(folder: Path) -> None:
    plan = plan_with(folder, changed(claims={"it_matters": CLAIM}))
    results = folder / "results"
    own = plan.of_figures(["study_mine"])
    before = Layout(plan, str(results))
    assert list(before.reported.figures) == list(plan.of_papers.figures)
    assert not [path for path in before.everything() if "mine" in path]
    published = results / "smoke" / "figures"
    published.mkdir(parents=True)
    for name in published_names("study_mine"):
        (published / name).touch()
    after = Layout(plan, str(results))
    assert list(after.reported.figures) == list(plan.figures)
    assert {path for path in after.everything() if "study_mine" in path} >= {
        f"{published}/{name}" for name in published_names("study_mine")
    }
    (claims,) = own.claims
    told = [json.loads(Path(layout.claims_spec()).read_text()) for layout in (before, after)]
    assert [f"{results}/store/{claims}" in {one["folder"] for one in all_} for all_ in told] == [
        False,
        True,
    ]
    assert after.claims_version() != before.claims_version()
    # Whether it is reported or not, it can be asked for.
    assert before.published("study_mine")[:4] == after.published("study_mine")[:4]


def test_two_are_independent(folder: Path) -> None:
    first = plan_with(folder, MINE).figures["study_mine"]
    both = plan_of(folder, MINE, {**changed(question="Another?"), "study": "other"})
    assert both.figures["study_mine"] == first
    runs = [one.run for one in first.tables["runs"].entries]
    assert [one.run for one in both.figures["study_other"].tables["runs"].entries] == runs


# What is refused


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        *parents, last = path
        for parent in parents:
            document = document[parent]
        document[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        pytest.param(
            put("pannels", value=["train_loss"]),
            ["unknown key 'pannels'", "did you mean 'panels'?"],
            id="unknown key",
        ),
        pytest.param(without("sweep"), ["key 'sweep'", "missing"], id="no sweep"),
        pytest.param(without("question"), ["key 'question'", "missing"], id="no question"),
        pytest.param(
            put("study", value="yours"),
            ["'study' is 'yours'", "the file is named 'mine'"],
            id="another name",
        ),
        pytest.param(
            put("panels", value=["train_los"]),
            ["'panels[0]' is 'train_los'", "did you mean 'train_loss'?"],
            id="unknown panel",
        ),
        pytest.param(put("panels", value=[]), ["'panels' is empty"], id="no panels"),
        pytest.param(
            put("near_zero", value="test_error"),
            ["'near_zero' is 'test_error'", "train_error"],
            id="unknown signal",
        ),
        pytest.param(
            put("run", value="periodic.si_convnett"),
            [
                "'run' is 'periodic.si_convnett'",
                "config/papers/periodic/paper.yaml",
                "'si_convnet'?",
            ],
            id="unknown run",
        ),
        pytest.param(
            put("run", value="periodical.si_convnet"),
            ["'run' is 'periodical.si_convnet'", "did you mean 'periodic'?"],
            id="unknown paper of the run",
        ),
        pytest.param(
            put("base", value={"study": "periodic"}), ["unknown key 'base'"], id="key of old"
        ),
        pytest.param(without("run"), ["key 'run' is missing"], id="no run"),
        pytest.param(put("run", value=3), ["key 'run' is 3", "a paper's run"], id="no such run"),
        pytest.param(
            put("run", value={"modell": {"name": "convnet"}}),
            ["unknown key 'modell' in 'run'", "did you mean 'model'?"],
            id="unknown key of a run written out",
        ),
        pytest.param(
            put("run", value={"model": {"name": "convnet", "width": 2, "scale_invariant": True}}),
            ["key 'dataset' in 'run' is missing"],
            id="a run without its data",
        ),
        pytest.param(
            put("sweep", "optimizer.momentum", value=[0.9]),
            ["'sweep.optimizer.momentum' leads nowhere"],
            id="swept key that leads nowhere",
        ),
        pytest.param(
            put("sweep", "optimiser.momentun", value=[0.9]),
            ["unknown key 'momentun' in 'optimiser'", "did you mean 'momentum'?"],
            id="swept key of no block",
        ),
        pytest.param(
            put("sweep", "sed", value=[1]),
            ["unknown key 'sed'", "did you mean 'seed'?"],
            id="swept key of no run",
        ),
        pytest.param(
            put("sweep", "optimiser.weight_decay", value=[-1]),
            ["'optimiser.weight_decay' is -1", "at least 0"],
            id="impossible value",
        ),
        pytest.param(
            put("sweep", "seed", value=[]), ["'sweep.seed' is empty"], id="nothing to sweep"
        ),
        pytest.param(
            put("set", value={"modell.width": 3}), ["'set.modell.width' leads nowhere"], id="set"
        ),
        pytest.param(
            put("epochs", value={"smoke": 1}),
            ["'epochs' is {'smoke': 1}", "of type integer"],
            id="a value for each scale in its place",
        ),
        pytest.param(
            put("scales", "huge", value={"epochs": 3}),
            ["'scales.huge' is not a scale", "known are laptop, paper, smoke"],
            id="unknown scale",
        ),
        pytest.param(
            put("scales", "paper", value={"epoch": 3}),
            ["mine.yaml, scale paper: key 'epoch' changes nothing", "did you mean 'epochs'?"],
            id="a scale changes a key that is not there",
        ),
        pytest.param(
            put("scales", "paper", value=3), ["'scales.paper' is 3", "mapping"], id="no overlay"
        ),
        pytest.param(
            put("scales", "paper", value={"epochs": 0}),
            ["mine.yaml, scale paper: key 'epochs' is 0"],
            id="a wrong value of another scale",
        ),
        pytest.param(put("epochs", value=0), ["'epochs' is 0", "at least 1"], id="no epochs"),
        pytest.param(
            put("study", value="m" * 61), ["must have at most 60 letters"], id="too long a name"
        ),
        pytest.param(
            put("study", value="my study"),
            ["'study' is 'my study'", "small letters, digits and underscores"],
            id="impossible name",
        ),
        pytest.param(
            put("claims", value={"it_matters": {**CLAIM, "table": "period"}}),
            ["'claims.it_matters.table' is 'period'", "known are periods, runs"],
            id="a claim on no table",
        ),
        pytest.param(
            put(
                "claims",
                value={"it_matters": {**CLAIM, "quantity": {"name": "destabilisation_counts"}}},
            ),
            ["'claims.it_matters.quantity.name'", "did you mean 'destabilisation_count'?"],
            id="a claim on no quantity",
        ),
        pytest.param(put("claims", value=3), ["'claims' is 3", "mapping"], id="claims of no form"),
        pytest.param(
            put("sweep", value={"constraint": [{"name": "none"}], "parent": [None, 3]}),
            ["'parent' is 3", "mapping"],
            id="swept parent of another form",
        ),
        pytest.param(
            lambda document: document.update(
                set={"constraint.name": "fixed_norm"}, sweep={"constraint.norm": [None, 3]}
            ),
            ["'sweep.constraint.norm' mixes numbers with other values"],
            id="values that one column cannot hold",
        ),
        pytest.param(
            put("sweep", "batch_size", value=[1, 2, 3, 4, 5]),
            ["'sweep' has 5 combinations of batch_size", "4 apart beside optimiser.weight_decay"],
            id="more than styles tell apart",
        ),
        pytest.param(
            put(
                "sweep",
                value={
                    "schedule": [{"name": "cosine", "horizon": horizon} for horizon in range(1, 8)]
                },
            ),
            ["'sweep.schedule' has 7 values that are not numbers", "6 apart"],
            id="more than colours tell apart",
        ),
    ],
)
def test_a_wrong_file_is_told_in_a_sentence(
    folder: Path, edit: Callable[[dict[str, Any]], None], told: list[str]
) -> None:
    document = changed()
    edit(document)
    with pytest.raises(PerigeeError) as caught:
        plan_of(folder, mine=document)
    sentence = str(caught.value)
    assert "mine.yaml" in sentence
    for part in told:
        assert part in sentence, sentence


def test_as_many_numbers_as_wanted_are_told_apart(request_of: Request) -> None:
    assert len(request_of(changed(sweep={"optimiser.momentum": NUMBERS})).tables[0].runs) == 7


def test_a_sweep_is_no_paper(folder: Path) -> None:
    with pytest.raises(
        PerigeeError, match=r"'mine', which is not a paper .*'snakemake study_mine'"
    ):
        plan_of(folder, MINE, papers=[*PAPERS, "mine"])


def test_a_paper_may_not_be_named_study(folder: Path) -> None:
    with pytest.raises(PerigeeError, match="'study', a name that is kept"):
        plan_of(folder, papers=["study"], study=REGIMES)

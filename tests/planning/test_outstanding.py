"""Edits, deletions and new targets cause only what they must to be made (without Snakemake)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.measures import Checkpoints
from perigee.paths import NOTEBOOKS, ROOT
from perigee.planning.forecast import trainings
from perigee.planning.products import RunProduct
from perigee.store.provenance import PROVENANCE
from support.planning import (
    DATASET,
    FORK,
    OWN,
    PREDICTIONS,
    RUN_01,
    RUN_03,
    SEEDS,
    Project,
    edited,
    make,
    name_of,
    targets,
)

PERIGEE = ROOT / "workflow" / "perigee"
FIG2, FIG3, FIG4, FIG5, FIG6 = (
    {f"figure periodic_{fig}", f"table periodic_{fig}-{table}"}
    for fig, table in (
        ("fig2", "steps"),
        ("fig3", "runs"),
        ("fig4", "period"),
        ("fig5", "forks"),
        ("fig6", "convnet"),
    )
)
FIG3_JUDGED = {*FIG3, "claims periodic_fig3"}
RUNS = {RUN_01, RUN_03, FORK, *SEEDS}
FIGURES = {f"figure periodic_fig{number}" for number in (2, 3, 4, 5, 6)}
ALL = {DATASET, *RUNS, *PREDICTIONS, *FIG2, *FIG3_JUDGED, *FIG4, *FIG5, *FIG6}

Edit = Callable[[Project], None]


@pytest.fixture
def project(made: Project) -> Project:
    """The small configuration, all of whose products are made."""
    return made


def run_with(learning_rate: float, seed: int = 0, epochs: int = 4) -> str:
    return f"run convnet-digits-lr{learning_rate}-wd0.01-seed{seed}/e{epochs}"


def to_train(project: Project, *keys: str) -> dict[str, tuple[int, bool]]:
    """The epochs of each run that figures need, and whether it is trained for measures only."""
    layout = project.layout()
    found = trainings(layout, targets(layout, *keys))
    return {
        name_of(layout.runs[folder]): (training.epochs, training.is_replay)
        for folder, training in found.items()
    }


def delete(project: Project, *names: str) -> None:
    """Delete the folders of products."""
    layout = project.layout()
    folders = {name_of(one): one.folder for one in layout.plan.products.values()}
    for name in names:
        shutil.rmtree(project.store / folders[name])


def measure_folder(project: Project, run: str, measure: str) -> Path:
    runs = {name_of(one): one for one in project.layout().runs.values()}
    identity = runs[run].measure_identities[measure]
    return project.store / runs[run].folder / identity.label


# Edits of the configuration


def test_from_nothing_all_is_made_inputs_first(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project.outstanding() == sorted(ALL)
    seen: set[str] = set()
    for folder, product in project.to_make().items():
        assert {one.folder for one in product.inputs} <= seen
        seen.add(folder)


def test_nothing_changed(project: Project) -> None:
    assert project.outstanding() == []
    assert to_train(project) == {}


def rates(*values: float) -> Edit:
    return lambda project: project.sweep("fig3")["sweep"].update(
        {"optimiser.learning_rate": list(values)}
    )


def base(**changes: Any) -> Edit:
    return lambda project: project.periodic["runs"]["base"].update(changes)


def in_sweep(figure: str, **changes: Any) -> Edit:
    return lambda project: project.sweep(figure).update(changes)


def of_study(*path: Any, value: Any) -> Edit:
    def edit(project: Project) -> None:
        *parents, last = path
        document = project.periodic
        for parent in parents:
            document = document[parent]
        document[last] = value

    return edit


EVERY_STEP = {"name": "one_period", "smoothing_epochs": 1}
"""An analysis that reads the measure ``steps``."""

SGD = {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.01}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(rates(0.1, 0.2), {run_with(0.2), *FIG3_JUDGED}, id="a rate changed"),
        pytest.param(rates(0.1, 0.3, 0.2), {run_with(0.2), *FIG3_JUDGED}, id="a rate added"),
        pytest.param(rates(0.1), FIG3_JUDGED, id="a rate removed"),
        pytest.param(rates(0.3, 0.1), FIG3_JUDGED, id="the runs of a table in another order"),
        pytest.param(
            in_sweep("fig3", sweep={"seed": [0, 1], "optimiser.learning_rate": [0.1, 0.3]}),
            {run_with(0.1, seed=1), run_with(0.3, seed=1), *FIG3_JUDGED},
            id="a seed added",
        ),
        pytest.param(
            in_sweep("fig3", epochs=6),
            {run_with(0.1, epochs=6), run_with(0.3, epochs=6), *FIG3_JUDGED},
            id="epochs raised",
        ),
        pytest.param(in_sweep("fig3", epochs=3), FIG3_JUDGED, id="epochs lowered"),
        pytest.param(base(batch_size=64), ALL - {DATASET, *FIG2}, id="a value that all runs have"),
        pytest.param(
            base(dataset={"name": "digits", "label_noise": 0.1}), ALL - FIG2, id="a data set"
        ),
        pytest.param(base(optimiser={**SGD, "momentum": 0.0}), set(), id="a default written out"),
        pytest.param(base(constraint={"name": "none"}), set(), id="a default block written out"),
        pytest.param(
            of_study("runs", "fork", "parent", "at", "epochs", value=2),
            {FORK, *FIG5},
            id="a fork from elsewhere",
        ),
        pytest.param(of_study("figures", "fig3", "title", value="New"), set(), id="a title"),
        pytest.param(of_study("citation", value="Someone 2021"), FIGURES, id="a citation"),
        pytest.param(
            of_study("figures", "fig3", "claims", "falls", "says", value="It does."),
            set(),
            id="a claim's wording",
        ),
        pytest.param(
            of_study("figures", "fig3", "claims", "falls", "place", value="Section 9"),
            set(),
            id="a claim's place",
        ),
        pytest.param(
            of_study("figures", "fig3", "claims", "falls", "expected", "at_most", value=0.4),
            {"claims periodic_fig3"},
            id="a claim's bound",
        ),
        pytest.param(
            of_study(
                "figures", "fig4", "tables", "period", "analysis", "smoothing_epochs", value=2
            ),
            FIG4,
            id="a parameter of an analysis",
        ),
        pytest.param(
            in_sweep("fig6", checkpoint_interval=4),
            {*PREDICTIONS, *FIG6},
            id="fewer checkpoints: read off",
        ),
        pytest.param(
            in_sweep("fig6", checkpoint_interval=1),
            {*SEEDS, *PREDICTIONS, *FIG6},
            id="more checkpoints: taken again",
        ),
        pytest.param(
            of_study("figures", "fig3", "tables", "runs", "analysis", value=EVERY_STEP),
            {RUN_03, *FIG3_JUDGED},
            id="a measure that one of two runs has",
        ),
        pytest.param(
            of_study(
                "figures",
                "fig3",
                "tables",
                "runs",
                "analysis",
                "further",
                value=["full_gradient_norm"],
            ),
            {RUN_01, RUN_03, *FIG3_JUDGED},
            id="a measure that none has",
        ),
    ],
)
def test_an_edit_has_made_again_what_depends_on_it(
    edit: Edit, expected: set[str], project: Project
) -> None:
    before = project.copied()
    edit(project)
    assert project.outstanding() == sorted(expected)
    project.make()
    assert project.outstanding() == []
    # And back: all is still there.
    project.documents = before
    assert project.outstanding() == []


def reordered(value: Any) -> Any:
    """The same with all keys in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_means_nothing(project: Project) -> None:
    before = list(project.periodic)
    project.documents = reordered(project.documents)
    assert list(project.periodic) == before[::-1]
    assert project.outstanding() == []


def spelled_otherwise(value: Any) -> Any:
    """The same with numbers as text or with another number of digits."""
    if isinstance(value, dict):
        return {key: spelled_otherwise(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spelled_otherwise(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    return f"{value:e}" if isinstance(value, float) else value


def test_the_spelling_of_numbers_means_nothing(project: Project) -> None:
    project.documents = spelled_otherwise(project.documents)
    run = project.periodic["runs"]["base"]
    assert run["optimiser"]["learning_rate"] == "3.000000e-01"
    assert run["batch_size"] == 128
    assert isinstance(run["batch_size"], float)
    assert project.outstanding() == []


def test_a_claims_wording_is_gathered_again_and_not_judged(project: Project) -> None:
    before = project.layout().claims_version()
    of_study("figures", "fig3", "claims", "falls", "says", value="It does.")(project)
    layout = project.layout()
    assert layout.claims_version() != before
    assert layout.claims_to_judge() == []


# Edits of code


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(["kernel/optimisers/sgd.py"], ALL - {DATASET, *FIG2}, id="the update rule"),
        pytest.param(["kernel/trainer.py"], ALL - {DATASET, *FIG2}, id="the step"),
        pytest.param(["kernel/constraints/fixed_norm.py"], {FORK, *FIG5}, id="a constraint"),
        pytest.param(["data/digits.py"], ALL - FIG2, id="a data set"),
        pytest.param(["measures/steps.py"], {RUN_01, *FIG4}, id="a measure that one table reads"),
        pytest.param(
            ["measures/metrics.py"],
            # The fork starts where the metrics of its parent tell.
            {*RUNS, *FIG3_JUDGED, *FIG4, *FIG5, *FIG6},
            id="a measure that a fork goes by",
        ),
        pytest.param(["evaluation/predictions.py"], {*PREDICTIONS, *FIG6}, id="an evaluation"),
        pytest.param(["analysis/one_period.py"], FIG4, id="an analysis"),
        pytest.param(["plotting/notebook.py"], FIGURES, id="plotting"),
        pytest.param(["claims/judging.py"], {"claims periodic_fig3"}, id="judging"),
        pytest.param(
            [
                "kernel/optimisers/adam.py",
                "models/resnet18.py",
                "measures/layers.py",
                "training/recording.py",
                "training/saved_state.py",
                "jobs/training.py",
                "progress.py",
                "store/writing.py",
                "store/provenance.py",
                "store/figures.py",
                "identity/code.py",
                "identity/products.py",
            ],
            set(),
            id="what no run uses, and what is around training",
        ),
    ],
)
def test_an_edit_of_code_has_made_again_what_it_makes(
    files: list[str], expected: set[str], project: Project
) -> None:
    paths = [PERIGEE / file for file in files]
    assert all(path.is_file() for path in paths)
    with edited(*paths):
        assert project.outstanding() == sorted(expected)
    assert project.outstanding() == []


def test_an_edit_of_a_notebook_has_its_figure_drawn_again(project: Project) -> None:
    with edited(NOTEBOOKS / "periodic_fig3.py"):
        assert project.outstanding() == ["figure periodic_fig3"]


def test_a_comment_changes_nothing(project: Project) -> None:
    files = (PERIGEE / "kernel/trainer.py", PERIGEE / "plotting/notebook.py")
    with edited(*files, addition="# A comment."):
        assert project.outstanding() == []


def test_an_edited_measure_is_taken_again_of_the_run_as_it_is(project: Project) -> None:
    with edited(PERIGEE / "measures/steps.py"):
        assert to_train(project) == {RUN_01: (4, True)}
        (run,) = (one for one in project.to_make().values() if isinstance(one, RunProduct))
        assert run.is_trained(project.store)
        folder = make(run, project.store)
        # Beside the old one, which the old code reads.
        assert len(list(folder.glob("steps-*"))) == 2
        assert to_train(project) == {}


# Losses


@pytest.mark.parametrize(
    "lost", [[DATASET], [RUN_03], list(PREDICTIONS), ["table periodic_fig3-runs"]]
)
def test_what_is_lost_is_made_again_only_when_something_needs_it(
    lost: list[str], project: Project
) -> None:
    delete(project, *lost)
    assert project.outstanding() == []


def test_a_lost_figure_is_drawn_again(project: Project) -> None:
    delete(project, "figure periodic_fig3")
    assert project.outstanding() == ["figure periodic_fig3"]


def test_a_lost_table_is_made_again_for_a_figure_that_is_to_be_drawn(project: Project) -> None:
    delete(project, *FIG3)
    assert project.outstanding() == sorted(FIG3)


def test_a_lost_run_is_trained_again_for_a_table_that_is_to_be_made(project: Project) -> None:
    delete(project, *FIG3, RUN_03)
    assert project.outstanding() == sorted({*FIG3, RUN_03})
    assert to_train(project) == {RUN_03: (4, False)}


def test_a_lost_data_set_is_built_again_for_a_run_that_is_to_be_trained(project: Project) -> None:
    delete(project, *FIG3, DATASET)
    assert project.outstanding() == sorted(FIG3), "its table needs runs, and no data"
    rates(0.2)(project)
    assert project.outstanding() == sorted({*FIG3_JUDGED, run_with(0.2), DATASET})


def test_a_lost_measure_is_taken_again(project: Project) -> None:
    delete(project, *FIG3)
    shutil.rmtree(measure_folder(project, RUN_01, "metrics"))
    assert project.outstanding() == sorted({*FIG3, RUN_01})
    assert to_train(project) == {RUN_01: (4, True)}


def test_a_lost_measure_is_computed_at_checkpoints_where_all_are_kept(project: Project) -> None:
    delete(project, *FIG3)
    shutil.rmtree(measure_folder(project, RUN_03, "metrics"))
    assert project.outstanding() == sorted({*FIG3, RUN_03})
    assert to_train(project) == {}


@pytest.mark.parametrize("name", ["losses.npy", "weights.npy", "state.safetensors", PROVENANCE])
def test_a_run_that_lacks_a_file_is_none(name: str, project: Project) -> None:
    delete(project, *FIG3)
    run = next(one for one in project.layout().runs.values() if name_of(one) == RUN_03)
    (project.store / run.folder / name).unlink()
    assert project.outstanding() == sorted({*FIG3, RUN_03})


def test_a_store_is_as_good_elsewhere_and_without_receipts(
    project: Project, tmp_path: Path
) -> None:
    layout = project.layout()
    elsewhere = Project(tmp_path / "elsewhere")
    shutil.copytree(project.store, elsewhere.store)
    assert elsewhere.outstanding() == []
    receipts = Path(layout.receipts.folder)
    assert not receipts.exists(), "none was needed here either"


def test_products_of_an_earlier_format_are_not_read(tmp_path: Path) -> None:
    """They had other files, and other digests."""
    project = Project(tmp_path)
    for product in project.to_make().values():
        folder = project.store / product.folder
        folder.mkdir(parents=True)
        for name in ("metrics.parquet", "steps.parquet", "data.safetensors", PROVENANCE):
            (folder / name).touch()
        if product.kind in ("run", "dataset"):
            assert not product.is_complete(project.store)


# Lengths of a run


def test_of_two_lengths_the_shorter_is_trained_first(tmp_path: Path) -> None:
    project = Project(tmp_path)
    in_sweep("fig4", epochs=9)(project)
    longer = run_with(0.1, epochs=9)
    order = [name_of(one) for one in project.to_make().values()]
    assert order.index(RUN_01) < order.index(longer)
    assert to_train(project)[RUN_01] == (4, False)
    assert to_train(project)[longer] == (5, False)
    # For figure 4 alone too: the reported figures need the shorter one anyway.
    assert {RUN_01, longer} <= set(project.outstanding("periodic_fig4"))
    # With the measures of both, so that the longer one can go on.
    by_name = {name_of(one): one for one in project.layout().runs.values()}
    for name in (RUN_01, longer):
        assert [one.name for one in by_name[name].measures] == ["metrics", "steps"]
    project.make()
    assert to_train(project) == {}


def test_a_shorter_run_is_read_off_a_longer_one(tmp_path: Path) -> None:
    project = Project(tmp_path)
    in_sweep("fig4", epochs=9)(project)
    by_name = {name_of(one): one for one in project.layout().runs.values()}
    make(by_name[run_with(0.1, epochs=9)], project.store)
    assert RUN_01 not in project.outstanding()


def test_a_longer_run_goes_on_from_one_that_nothing_refers_to_any_more(project: Project) -> None:
    in_sweep("fig4", epochs=9)(project)
    rates(0.3)(project)
    assert to_train(project) == {run_with(0.1, epochs=9): (5, False)}


LONGER = run_with(0.3, epochs=6)


def longer_with_steps(project: Project) -> None:
    """Have figure 3 ask for one run, longer and with a further measure."""
    rates(0.3)(project)
    in_sweep("fig3", epochs=6)(project)
    of_study("figures", "fig3", "tables", "runs", "analysis", value=EVERY_STEP)(project)


def test_a_longer_run_that_asks_for_more_is_trained_on_and_then_again(project: Project) -> None:
    """So does its job: the first epochs were not measured like this."""
    longer_with_steps(project)
    del project.periodic["figures"]["fig5"]
    assert to_train(project) == {LONGER: (2 + 6, False)}


def test_a_longer_run_that_asks_for_more_has_a_planned_shorter_one_measured_first(
    project: Project,
) -> None:
    """Figure 5 needs the shorter one anyway, as the parent of a fork."""
    longer_with_steps(project)
    assert to_train(project) == {RUN_03: (4, True), LONGER: (2, False)}


# Forks


def test_a_fork_that_is_there_needs_no_parent(project: Project) -> None:
    delete(project, *FIG3, *FIG5, RUN_03)
    assert project.outstanding("periodic_fig5") == sorted(FIG5)


def test_a_lost_fork_needs_its_parent_first(project: Project) -> None:
    delete(project, *FIG5, RUN_03, FORK)
    assert project.outstanding() == sorted({*FIG5, RUN_03, FORK})
    order = [name_of(one) for one in project.to_make().values()]
    assert order.index(RUN_03) < order.index(FORK)


@pytest.mark.parametrize("measure", ["metrics", "checkpoints"])
def test_a_fork_needs_its_parents_course_and_checkpoints(measure: str, project: Project) -> None:
    shutil.rmtree(measure_folder(project, RUN_03, measure))
    assert project.outstanding() == []
    delete(project, *FIG5, FORK)
    assert project.outstanding() == sorted({*FIG5, FORK, RUN_03})


# Checkpoints


def test_two_intervals_of_one_run_are_kept_together(tmp_path: Path) -> None:
    project = Project(tmp_path)
    figure = project.periodic["figures"]["fig6"]
    figure["runs"]["other"] = {**figure["runs"]["convnet"], "checkpoint_interval": 3}
    figure["tables"]["other"] = {
        "analysis": {"name": "similarity", "near_zero": "train_error"},
        "runs": ["other"],
    }
    for run in project.layout().runs.values():
        if name_of(run) in SEEDS:
            assert Checkpoints(interval=1) in run.measures
    project.make()
    assert project.outstanding() == []


def test_the_last_epoch_of_a_shorter_run_may_lie_between_checkpoints(project: Project) -> None:
    """Checkpoints of epochs 0, 2 and 4 are there, but one after epoch 3 would be the last."""
    in_sweep("fig6", epochs=3)(project)
    shorter = {f"run convnet-digits-lr0.15-wd0.01-seed{seed}/e3" for seed in (0, 1)}
    assert project.outstanding() == sorted({*shorter, *PREDICTIONS, *FIG6})
    in_sweep("fig6", epochs=2)(project)
    assert project.outstanding() == sorted({*PREDICTIONS, *FIG6})


def test_damaged_checkpoints_are_not_read_off(project: Project) -> None:
    for run in SEEDS:
        (measure_folder(project, run, "checkpoints") / PROVENANCE).write_text("{")
    in_sweep("fig6", checkpoint_interval=4)(project)
    assert project.outstanding() == sorted({*SEEDS, *PREDICTIONS, *FIG6})


# Studies of one's own


def test_a_study_of_ones_own_is_made_when_it_is_asked_for(project: Project) -> None:
    project.documents["mine"] = dict(OWN)
    assert project.outstanding() == []
    expected = {"run convnet-digits-lr0.3-wd0.02-seed0/e4", "figure study_mine"}
    assert project.outstanding("study_mine") == sorted(
        {*expected, "table study_mine-runs", "table study_mine-periods"}
    )


def similarity_at_low_rate(project: Project) -> None:
    """A study of one's own that wants checkpoints of a run of figures 3 and 4."""
    project.documents["mine"] = {
        **OWN,
        "set": {"optimiser.learning_rate": 0.1},
        "sweep": {"seed": [0, 1]},
        "panels": ["similarity"],
    }


def test_measures_that_only_ones_own_study_asks_for_have_nothing_trained_again(
    project: Project,
) -> None:
    similarity_at_low_rate(project)
    assert project.outstanding() == []
    found = project.outstanding("study_mine")
    assert {RUN_01, run_with(0.1, seed=1)} <= set(found)
    assert to_train(project, "study_mine")[RUN_01] == (4, True)


def test_a_run_to_be_trained_takes_what_every_planned_figure_asks_of_it(tmp_path: Path) -> None:
    """Even a study of one's own that may never be made: measuring costs little, a replay much."""
    project = Project(tmp_path)
    alone = set(project.outstanding())
    similarity_at_low_rate(project)
    assert set(project.outstanding()) == alone
    (run,) = (one for one in project.to_make().values() if name_of(one) == RUN_01)
    assert isinstance(run, RunProduct)
    assert [one.name for one in run.measures] == ["checkpoints", "metrics", "steps"]
    project.make()
    assert RUN_01 not in project.outstanding("study_mine")


def test_a_longer_run_of_ones_own_is_trained_only_for_it_and_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path)
    alone = set(project.outstanding())
    project.documents["mine"] = {**OWN, "epochs": 7}
    longer = run_with(0.3, epochs=7)
    assert set(project.outstanding()) == alone
    order = [name_of(one) for one in project.to_make("study_mine").values()]
    assert order.index(RUN_03) < order.index(longer)
    assert to_train(project, "study_mine")[longer] == (3, False)
    project.make()
    assert to_train(project, "study_mine") == {
        longer: (3, False),
        "run convnet-digits-lr0.3-wd0.02-seed0/e7": (7, False),
    }


def test_a_shorter_run_of_ones_own_is_not_trained_for_the_reported_figures(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    alone = set(project.outstanding())
    project.documents["mine"] = {**OWN, "epochs": 2}
    assert set(project.outstanding()) == alone
    assert to_train(project)[RUN_03] == (4, False)
    project.make()
    assert run_with(0.3, epochs=2) not in project.outstanding("study_mine")


# The rules ask for the same


@pytest.mark.parametrize(
    "lost", [ALL, {*FIG5, FORK, RUN_03}, {*FIG3, RUN_03}, {*FIG6, *PREDICTIONS}, set()]
)
def test_a_rule_waits_for_receipts_of_outstanding_products_only(
    lost: set[str], project: Project
) -> None:
    delete(project, *lost)
    layout = project.layout()
    waiting = layout.outstanding(targets(layout))
    receipts = {layout.receipts.of(folder) for folder in waiting}
    asked = set(layout.receipts_of(targets(layout)))
    for product in waiting.values():
        asked |= set(layout.inputs(product.kind, product.name))
    assert asked == receipts
    assert len(receipts) == len(lost)

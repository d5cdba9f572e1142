"""The scale `workstation`: the papers' runs on Fashion-MNIST, for fewer epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perigee.planning.absent_images import absent_images
from perigee.planning.plan import Plan, make_plan
from perigee.planning.products import RunProduct

PAGE = Path(__file__).parents[2] / "docs/gpus.md"

PAPERS = ["periodic", "regimes", "smd"]
OF_OTHER_DATA = {"smd_fig3", "smd_fig4", "smd_fig5"}
"""The figures that need ImageNet or COCO, here as at paper scale."""

CHANGED = {"dataset", "epochs", "at", "horizon"}
"""The keys of a run's spec that this scale may change."""

GPU_STEPS = 4 * 3600 / 1.1e-3
"""The steps of 1.1 ms in four hours."""


@pytest.fixture(scope="module")
def plans() -> tuple[Plan, Plan]:
    """The papers' figures at this scale, and at that without overlays."""
    return make_plan(PAPERS, "workstation").of_papers, make_plan(PAPERS, "paper").of_papers


def kept(spec: Any) -> Any:
    """A spec without what this scale may change."""
    if not isinstance(spec, dict):
        return spec
    return {key: kept(value) for key, value in spec.items() if key not in CHANGED}


def steps(plan: Plan, *keys: str) -> int:
    """The training steps of figures, of shared runs once."""
    runs: dict[str, RunProduct] = {
        run.folder: run for key in keys for run in plan.figures[key].runs
    }
    return sum(run.epochs * run.steps_per_epoch for run in runs.values())


def test_it_changes_data_and_epochs_alone(plans: tuple[Plan, Plan]) -> None:
    here, paper = plans
    assert set(here.figures) == set(paper.figures)
    for key, figure in here.figures.items():
        at_paper = [kept(run.spec.to_dict()) for run in paper.figures[key].runs]
        assert all(kept(run.spec.to_dict()) in at_paper for run in figure.runs), key
        assert len(figure.runs) == len(at_paper) or key == "regimes_fig1"


def test_every_run_is_of_fashion_mnist_but_those_of_imagenet_and_coco(
    plans: tuple[Plan, Plan], tmp_path: Path
) -> None:
    here, _ = plans
    names = {
        key: {run.spec.dataset.name for run in figure.runs} for key, figure in here.figures.items()
    }
    others = {key for key, found in names.items() if found - {"fashion_mnist"}}
    assert others == OF_OTHER_DATA == set(absent_images(here.figures, tmp_path))


def test_the_main_figures_have_steps_for_some_hours(plans: tuple[Plan, Plan]) -> None:
    """Where a step takes 1.1 ms; metrics and wider networks come on top, as the page says."""
    here, _ = plans
    for keys in (
        ["periodic_fig3", "periodic_fig4", "periodic_fig7"],
        ["regimes_fig1", "regimes_fig3", "regimes_fig5", "regimes_fig6"],
    ):
        planned = steps(here, *keys)
        assert GPU_STEPS / 2 < planned < GPU_STEPS
        assert f" {planned:,} " in PAGE.read_text(encoding="utf-8")


def test_figures_of_the_same_rates_share_their_runs(plans: tuple[Plan, Plan]) -> None:
    here, _ = plans
    folders = {key: {run.folder for run in one.runs} for key, one in here.figures.items()}
    assert folders["periodic_fig4"] < folders["periodic_fig3"]
    assert folders["regimes_fig4"] | folders["regimes_fig6"] < folders["regimes_fig1"]


def test_the_study_of_precision_takes_its_runs_in_tf32_from_figure_3() -> None:
    figures = make_plan(PAPERS, "workstation").figures
    of_figure = {(run.folder, run.epochs) for run in figures["periodic_fig3"].runs}
    study = {
        (run.folder, run.epochs): run.spec.precision for run in figures["study_precision"].runs
    }
    shared = {key for key, precision in study.items() if precision == "tf32"}
    assert len(shared) * 3 == len(study)
    assert shared <= of_figure

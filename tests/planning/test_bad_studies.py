"""Bad input gets one sentence with file, key, value and remedy, before there is any plan."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perigee import paths
from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from perigee.planning import plan
from perigee.planning.plan import Plan, checked_configuration, make_plan
from support.workspace import ROOT, sweep_of

PERIODIC = "config/studies/periodic.yaml"
SWEEP = "config/studies/label_smoothing.yaml"

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """The study files; of the periodic paper the figures that the tests below change."""
    found = {path.stem: read_yaml(path) for path in paths.STUDIES.glob("*.yaml")}
    del found["regimes"]
    figures = found["periodic"]["figures"]
    found["periodic"]["figures"] = {name: figures[name] for name in ("fig2", "fig3")}
    return found


@pytest.fixture
def clone(
    documents: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder whose config/studies is read."""
    studies = tmp_path / "config/studies"
    studies.mkdir(parents=True)
    for name, document in documents.items():
        (studies / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.setattr(plan, "STUDIES", studies)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(**settings: Any) -> Plan:
    given = read_yaml(ROOT / "config/config.yaml") | {"papers": ["periodic"], "scale": "smoke"}
    checked = checked_configuration(given | settings)
    return make_plan(checked["papers"], checked["scale"])


def refusal(**settings: Any) -> str:
    with pytest.raises(PerigeeError) as refused:
        planned(**settings)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def edit(clone: Path, name: str, change: Edit) -> None:
    document = yaml.safe_load((clone / name).read_text())
    change(document)
    (clone / name).write_text(yaml.safe_dump(document, sort_keys=False))


def set_in(*path: Any, value: Any) -> Edit:
    def change(study: dict[str, Any]) -> None:
        *parents, last = path
        for parent in parents:
            study = study[parent]
        study[last] = value

    return change


def set_learning_rates(value: Any) -> Edit:
    def change(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = value

    return change


def fork_from(name: str) -> Edit:
    def change(study: dict[str, Any]) -> None:
        at = {"name": "at_epoch", "epoch": 1}
        study["runs"]["fork"] = {"parent": {"run": name, "epochs": 4, "at": at}}

    return change


def test_the_files_are_right_as_they_are(clone: Path) -> None:
    assert set(planned().figures) == {"periodic_fig2", "periodic_fig3", "study_label_smoothing"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            set_in("runs", "si_convnet", "optimizer", value={"name": "sgd"}),
            ["unknown key 'optimizer'", "runs.si_convnet", "did you mean 'optimiser'?"],
            id="unknown key of a run",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "widht", value=8),
            ["unknown key 'widht'", "model", "did you mean 'width'?"],
            id="unknown parameter of a model",
        ),
        pytest.param(
            set_in("figures", "fig3", "epochs", value=3),
            ["unknown key 'epochs'", "figures.fig3", "known are claims, tables, title"],
            id="unknown key of a figure",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value="many"),
            ["runs.si_convnet.batch_size", "'many'", "of type integer"],
            id="text for a number",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "scale_invariant", value="si"),
            ["model.scale_invariant", "'si'", "of type boolean"],
            id="text for a truth value",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value=12.5),
            ["runs.si_convnet.batch_size", "12.5", "of type integer"],
            id="a fraction for a whole number",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "width", "paper", value=-32),
            ["model.width", "-32", "at least 1"],
            id="a wrong value of another scale",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "dataset", "label_noise", value=1.5),
            ["dataset.label_noise", "1.5", "at most 1"],
            id="a data set's parameter out of range",
        ),
        pytest.param(
            set_learning_rates([-0.1]),
            ["optimiser.learning_rate", "-0.1", "greater than 0"],
            id="negative learning rate",
        ),
        pytest.param(
            set_learning_rates([float("nan")]),
            ["optimiser.learning_rate", "nan", "finite number"],
            id="learning rate that is no number",
        ),
        pytest.param(
            set_learning_rates([]),
            ["sweep.optimiser.learning_rate", "is empty", "at least one"],
            id="empty sweep",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "dataset", "name", "smoke", value="mnist"),
            ["dataset.name", "'mnist'", "not a data set", "digits"],
            id="unknown data set",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "name", value="convnett"),
            ["model.name", "'convnett'", "did you mean 'convnet'?"],
            id="unknown model",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value={"smoke": 1, "laptop": 2}),
            ["runs.si_convnet.batch_size", "no value for the scale 'paper'"],
            id="a scale left out",
        ),
        pytest.param(
            set_in("figures", "fig9", value={"title": "t", "tables": {"a": {"analysis": {}}}}),
            ["figures.fig9", "'name'", "is missing"],
            id="key missing",
        ),
        pytest.param(
            lambda study: sweep_of(study).update(base="si_resnet"),
            ["runs[0].base", "'si_resnet'", "known are far_from_destabilisation"],
            id="unknown base run",
        ),
        pytest.param(
            lambda study: sweep_of(study)["sweep"].update({"optimizer.momentum": [0.9]}),
            ["optimizer.momentum", "leads nowhere"],
            id="swept key that leads nowhere",
        ),
        pytest.param(
            lambda study: sweep_of(study)["sweep"].update({True: [1]}),
            ["'True' is read as bool", "put it in quotes"],
            id="a key that YAML takes for a truth value",
        ),
        pytest.param(
            lambda study: study["figures"]["fig3"]["tables"]["runs"].pop("runs"),
            ["tables.runs.runs' is missing", "'run_metrics' reads runs"],
            id="an analysis without its runs",
        ),
        pytest.param(
            lambda study: study["figures"]["fig2"]["tables"]["steps"].update(
                runs=[{"base": "si_convnet", "epochs": 1}]
            ),
            ["tables.steps.runs' is given", "computes from a formula"],
            id="runs for an analysis that computes",
        ),
        pytest.param(
            set_in("figures", "fig2", "tables", "steps", "analysis", "start", value=[0.85]),
            ["analysis.start", "has 1 entry; it must have 2"],
            id="too few values",
        ),
        pytest.param(
            set_in("figures", "fig3", "tables", "runs", "analysis", "further", value=["norms"]),
            [
                "figures.fig3.tables.runs.analysis.further",
                "'norms'",
                "known are full_gradient_norm",
            ],
            id="unknown measure",
        ),
        pytest.param(
            set_in("figures", "Figure 3", value={}),
            ["'Figure 3'", "not a possible name"],
            id="impossible figure name",
        ),
        pytest.param(
            fork_from("nobody"),
            ["'runs.fork.parent.run' is 'nobody'", "si_convnet"],
            id="a fork of nobody",
        ),
        pytest.param(
            fork_from("fork"),
            ["'runs.fork.parent.run' is 'fork'", "fork from fork"],
            id="a fork of itself",
        ),
    ],
)
def test_a_wrong_study_file(clone: Path, change: Edit, told: list[str]) -> None:
    edit(clone, PERIODIC, change)
    sentence = refusal()
    assert PERIODIC in sentence
    for part in told:
        assert part in sentence, sentence


def test_a_wrong_sweep_of_ones_own(clone: Path) -> None:
    edit(clone, SWEEP, set_in("panles", value=["train_loss"]))
    sentence = refusal()
    assert f"{SWEEP}: unknown key 'panles'" in sentence
    assert "did you mean 'panels'?" in sentence


def test_two_figures_with_one_key(clone: Path) -> None:
    text = (clone / PERIODIC).read_text()
    (clone / PERIODIC).write_text(text + text[text.index("  fig2:") : text.index("  fig3:")])
    sentence = refusal()
    assert PERIODIC in sentence
    assert "'fig2' stands twice" in sentence


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("study: Lob\u00e4cheva\n".encode("latin-1"), "no UTF-8 text", id="no UTF-8"),
        pytest.param(b"figures: [fig3\n", "not valid YAML", id="no YAML"),
    ],
)
def test_a_study_file_that_cannot_be_read(clone: Path, content: bytes, told: str) -> None:
    (clone / PERIODIC).write_bytes(content)
    sentence = refusal()
    assert PERIODIC in sentence
    assert told in sentence


@pytest.mark.parametrize(
    ("folder", "suffix"), [("NOTEBOOKS", "notebooks/{}.py"), ("CAPTIONS", "report/{}.rst")]
)
def test_a_figure_without_notebook_or_caption(
    folder: str, suffix: str, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = getattr(plan, folder)
    here = clone / "workflow" / Path(suffix).parent
    here.mkdir(parents=True)
    for path in kept.glob(f"*{Path(suffix).suffix}"):
        if path.stem != "periodic_fig3":
            (here / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(plan, folder, here)
    assert f"write workflow/{suffix.format('periodic_fig3')}" in refusal()


def test_a_key_that_stands_twice_in_the_configuration(clone: Path) -> None:
    path = clone / "config/config.yaml"
    path.write_text("scale: smoke\npapers: [periodic]\nscale: smoke\n")
    with pytest.raises(PerigeeError, match=r"config\.yaml, line 3: key 'scale' stands twice"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"scale": "huge"}, ["'scale'", "'huge'", "laptop, paper, smoke"]),
        ({"scael": "smoke"}, ["unknown key 'scael'", "did you mean 'scale'?"]),
        ({"device": "gpu"}, ["'device'", "'gpu'"]),
        ({"runs_per_gpu": 0}, ["'runs_per_gpu'", "at least 1"]),
        ({"progress_interval": 0}, ["'progress_interval'", "at least 0.1"]),
        ({"papers": ["periodical"]}, ["'papers'", "'periodical'", "known are periodic"]),
        ({"download": "perhaps"}, ["'download'", "'perhaps'", "of type boolean"]),
        ({"papers": ["../config"]}, ["'papers[0]'", "../config"]),
        (
            {"results": "$NO_SUCH_VARIABLE/x"},
            ["'results'", "$NO_SUCH_VARIABLE/x", "write the path"],
        ),
        ({"data": "~no_such_user/x"}, ["'data'", "~no_such_user/x", "write the path"]),
        ({"mirror": "ftp.example"}, ["'mirror'", "'ftp.example'"]),
        ({"papers": "periodic"}, ["'papers'", "'periodic'", "of type list"]),
        ({"on_departure": "go on"}, ["'on_departure'", "'go on'", "fail, train_anew"]),
    ],
)
def test_a_wrong_configuration(clone: Path, setting: dict[str, Any], told: list[str]) -> None:
    sentence = refusal(**copy.deepcopy(setting))
    for part in ["config/config.yaml", *told]:
        assert part in sentence, sentence


def test_variables_and_the_home_folder_are_put_into_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    settings = {**read_yaml(ROOT / "config/config.yaml"), "results": "$SCRATCH/runs"}
    checked = checked_configuration(settings | {"data": "~/data"})
    assert (checked["results"], checked["data"]) == ("/scratch/me/runs", "/home/me/data")

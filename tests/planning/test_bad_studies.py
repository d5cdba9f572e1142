"""Bad input gets one sentence with file, key, value and remedy, before there is any plan."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_config

from perigee import paths
from perigee.configuration.overlays import merged
from perigee.configuration.reading import read_yaml
from perigee.configuration.settings import layered, read_settings
from perigee.errors import PerigeeError
from perigee.paths import configuration_file
from perigee.planning import plan
from perigee.planning.plan import Plan, check_all_scales, make_plan
from support.configuration import put, shipped_paper, write
from support.workspace import ROOT

PAPER = "config/papers/periodic/paper.yaml"
FIG2, FIG3 = (f"config/papers/periodic/fig{number}.yaml" for number in (2, 3))
SMOKE_PAPER = "config/scales/smoke/periodic/paper.yaml"
SMOKE_FIG3 = "config/scales/smoke/periodic/fig3.yaml"
LAPTOP_FIG3 = "config/scales/laptop/periodic/fig3.yaml"
CLAIMS3 = "config/papers/periodic/claims/fig3.yaml"
SWEEP = "config/studies/label_smoothing.yaml"

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """The shipped configuration; of the periodic paper the figures that the tests below change."""
    return {
        "periodic": shipped_paper("periodic", ["fig2", "fig3"]),
        "label_smoothing": read_yaml(ROOT / SWEEP),
    }


@pytest.fixture
def clone(
    documents: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder whose configuration is read."""
    write(tmp_path, documents)
    put(tmp_path / "config/config.yaml", settings())
    monkeypatch.setattr(paths, "CARRIED", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings() -> dict[str, Any]:
    return read_yaml(ROOT / "config/config.yaml") | {"papers": ["periodic"], "scale": "smoke"}


def planned(**changes: Any) -> Plan:
    """The plan, after files were checked at every scale, as `snakemake plan` does."""
    checked = layered([("config/config.yaml", settings() | changes)])
    plan = make_plan(checked["papers"], checked["scale"])
    check_all_scales(checked["papers"])
    return plan


def refusal(**changes: Any) -> str:
    with pytest.raises(PerigeeError) as refused:
        planned(**changes)
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


def set_rates(value: Any) -> Edit:
    return set_in("runs", "rates", "sweep", "optimiser.learning_rate", value=value)


def fork_from(name: str) -> Edit:
    def change(study: dict[str, Any]) -> None:
        at = {"name": "at_epoch", "epoch": 1}
        study["runs"]["fork"] = {"parent": {"run": name, "epochs": 4, "at": at}}

    return change


def test_the_files_are_right_as_they_are(clone: Path) -> None:
    assert set(planned().figures) == {"periodic_fig2", "periodic_fig3", "study_label_smoothing"}


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "optimizer", value={"name": "sgd"}),
            ["unknown key 'optimizer'", "runs.si_convnet", "did you mean 'optimiser'?"],
            id="unknown key of a run",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "model", "widht", value=8),
            ["unknown key 'widht'", "model", "did you mean 'width'?"],
            id="unknown parameter of a model",
        ),
        pytest.param(
            FIG3,
            set_in("epochs", value=3),
            [
                "unknown key 'epochs'",
                "known are explored_seeds, ours, outside_theorems, runs, seen, tables",
            ],
            id="unknown key of a figure",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "batch_size", value="many"),
            ["runs.si_convnet.batch_size", "'many'", "of type integer"],
            id="text for a number",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "model", "scale_invariant", value="si"),
            ["model.scale_invariant", "'si'", "of type boolean"],
            id="text for a truth value",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "batch_size", value=12.5),
            ["runs.si_convnet.batch_size", "12.5", "of type integer"],
            id="a fraction for a whole number",
        ),
        pytest.param(
            LAPTOP_FIG3,
            set_in("runs", "rates", "set", value={"model.width": -32}),
            ["model.width", "-32", "at least 1"],
            id="a wrong value of another scale",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "dataset", "label_noise", value=1.5),
            ["dataset.label_noise", "1.5", "at most 1"],
            id="a data set's parameter out of range",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_rates({"low": -0.1}),
            ["optimiser.learning_rate", "-0.1", "greater than 0"],
            id="negative learning rate",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_rates({"low": float("nan")}),
            ["optimiser.learning_rate", "nan", "finite number"],
            id="learning rate that is no number",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "rates", "sweep", "seed", value=[]),
            ["sweep.seed", "is empty", "at least one"],
            id="empty sweep",
        ),
        pytest.param(
            SMOKE_PAPER,
            set_in("runs", "si_convnet", "dataset", "name", value="mnist"),
            ["dataset.name", "'mnist'", "not a data set", "digits"],
            id="unknown data set",
        ),
        pytest.param(
            PAPER,
            set_in("runs", "si_convnet", "model", "name", value="convnett"),
            ["model.name", "'convnett'", "did you mean 'convnet'?"],
            id="unknown model",
        ),
        pytest.param(
            FIG2,
            set_in("tables", "a", value={"analysis": {}}),
            ["'name'", "is missing"],
            id="key missing",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "rates", "run", value="si_resnet"),
            ["runs.rates.run", "'si_resnet'", "known are before_late_destabilisation"],
            id="unknown base run",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "rates", "sweep", "optimizer.momentum", value=[0.9]),
            ["optimizer.momentum", "leads nowhere"],
            id="swept key that leads nowhere",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "rates", "sweep", True, value=[1]),
            ["'True' is read as bool", "put it in quotes"],
            id="a key that YAML takes for a truth value",
        ),
        pytest.param(
            FIG3,
            lambda figure: figure["tables"]["runs"].pop("runs"),
            ["tables.runs.runs' is missing", "'run_metrics' reads runs"],
            id="an analysis without its runs",
        ),
        pytest.param(
            FIG2,
            lambda figure: figure.update(
                runs={"one": {"run": "si_convnet", "epochs": 1}},
                tables={"steps": {**figure["tables"]["steps"], "runs": ["one"]}},
            ),
            ["tables.steps.runs' is given", "computes from a formula"],
            id="runs for an analysis that computes",
        ),
        pytest.param(
            FIG2,
            set_in("tables", "steps", "analysis", "start", value=[0.85]),
            ["analysis.start", "has 1 entry; it must have 2"],
            id="too few values",
        ),
        pytest.param(
            FIG3,
            set_in("tables", "runs", "analysis", "further", value=["norms"]),
            [
                "tables.runs.analysis.further",
                "'norms'",
                "known are full_gradient_norm",
            ],
            id="unknown measure",
        ),
        pytest.param(
            PAPER,
            fork_from("nobody"),
            ["'runs.fork.parent.run' is 'nobody'", "si_convnet"],
            id="a fork of nobody",
        ),
        pytest.param(
            PAPER,
            fork_from("fork"),
            ["'runs.fork.parent.run' is 'fork'", "fork from fork"],
            id="a fork of itself",
        ),
    ],
)
def test_a_wrong_file_of_a_paper(clone: Path, file: str, change: Edit, told: list[str]) -> None:
    edit(clone, file, change)
    sentence = refusal()
    assert sentence.startswith((f"{file}: ", f"{file}, line ")), sentence
    for part in told:
        assert part in sentence, sentence


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        pytest.param(
            SMOKE_FIG3,
            set_in("runs", "rates", "label", value="x"),
            ["key 'runs.rates.label' changes nothing", "known are epochs, run, sweep"],
            id="a key that the paper's file lacks",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_in("runs", "rate", value={}),
            ["key 'runs.rate' changes nothing", "did you mean 'rates'?"],
            id="runs that the paper's file lacks",
        ),
        pytest.param(
            SMOKE_PAPER,
            set_in("runs", "si_convnet", "model", "depth", value=3),
            ["key 'runs.si_convnet.model.depth' changes nothing", "width"],
            id="a parameter that the paper's file lacks",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_rates({"lowst": 0.1}),
            ["'runs.rates.sweep.optimiser.learning_rate.lowst'", "did you mean 'lowest'?"],
            id="a name that the sweep lacks",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_rates([0.1]),
            ["is [0.1]", "has a mapping of names there"],
            id="a grid in the place of names",
        ),
        pytest.param(
            SMOKE_PAPER,
            set_in("explored_seeds", value={"first": 1}),
            ["is {'first': 1}", "has a list there"],
            id="names in the place of a list",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_rates(dict.fromkeys(["lowest", "low", "high", "highest"])),
            ["'runs.rates.sweep.optimiser.learning_rate' is empty"],
            id="all names dropped",
        ),
        pytest.param(
            FIG3,
            set_in("ours", value={"runs.rates.epoch": "why"}),
            ["key 'ours' has a note on 'runs.rates.epoch'", "did you mean 'runs.rates.epochs'?"],
            id="a note on no key",
        ),
        pytest.param(
            LAPTOP_FIG3,
            set_in("seen", value={"runs.rates.epochs": {"seeds": [0]}}),
            ["key 'saw' in 'seen.runs.rates.epochs' is missing"],
            id="nothing that was seen",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_in("ours", value=["why"]),
            [f"{SMOKE_FIG3}: key 'ours' is ['why']; it must be of type mapping"],
            id="notes of an overlay that are no mapping",
        ),
        pytest.param(
            SMOKE_FIG3,
            set_in("untestable", value={"periods_at_middle_rate": "too short"}),
            ["'untestable' names 'periods_at_middle_rate'", "did you mean 'periods_at_middle_r"],
            id="a claim that is not there",
        ),
        pytest.param(
            "config/scales/smoke/scale.yaml",
            set_in("test_claims", value=True),
            ["unknown key 'test_claims'", "did you mean 'tests_claims'?"],
            id="unknown key of a scale",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "spare", value={"run": "si_convnet", "epochs": 1}),
            ["key 'runs.spare' is read by no table"],
            id="runs that nothing reads",
        ),
        pytest.param(
            FIG3,
            set_in("tables", "runs", "runs", value=["rate"]),
            ["key 'tables.runs.runs' is 'rate'", "known are rates"],
            id="a table of unknown runs",
        ),
        pytest.param(
            FIG3,
            set_in("runs", "rates", "sweep", "batch_size", value={"all": 128}),
            ["must not name a value 'all'"],
            id="a name that means all",
        ),
    ],
)
def test_what_does_not_fit_together(clone: Path, file: str, change: Edit, told: list[str]) -> None:
    edit(clone, file, change)
    sentence = refusal()
    for part in (file, *told):
        assert part in sentence, sentence


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("papers/periodic/Figure 3.yaml", "'Figure 3' is not a possible name of a figure"),
        ("papers/periodic/claims/fig33.yaml", "claims on 'fig33', which is not a figure"),
        ("scales/smoke/periodic/fig33.yaml", "changes 'fig33', which is not a file of the paper"),
        ("scales/smoke/periodical/fig3.yaml", "changes 'periodical', which is not a paper"),
        ("scales/huge/periodic/fig3.yaml", "scales/huge/scale.yaml cannot be read"),
        ("scales/paper/periodic/fig3.yaml", "is named as the scale without overlays"),
        ("papers/other/fig3.yaml", "config/papers/other has no paper.yaml"),
        ("studies/mine.yml", "mine.yml is not read; rename it to mine.yaml"),
        ("papers/periodic/fig4.yml", "fig4.yml is not read; rename it to fig4.yaml"),
        ("scales/smoke/periodic/fig3.yml", "fig3.yml is not read; rename it to fig3.yaml"),
    ],
)
def test_a_file_in_the_wrong_place(clone: Path, name: str, told: str) -> None:
    put(clone / "config" / name, {"title": "t", "tables": {}})
    assert told in refusal()


def test_hidden_files_do_not_count(clone: Path) -> None:
    """Emacs leaves such a link while a file is edited."""
    for folder in ("studies", "papers/periodic", "scales/smoke/periodic"):
        (clone / "config" / folder / ".#fig3.yaml").symlink_to("someone@somewhere.1234")
    (clone / "config/papers/.git").mkdir()
    (clone / "config/scales/.git").mkdir()
    assert "periodic_fig3" in planned().figures


def test_a_wrong_sweep_of_ones_own(clone: Path) -> None:
    edit(clone, SWEEP, set_in("panles", value=["train_loss"]))
    sentence = refusal()
    assert f"{SWEEP}: unknown key 'panles'" in sentence
    assert "did you mean 'panels'?" in sentence


def test_two_tables_with_one_key(clone: Path) -> None:
    text = (clone / FIG3).read_text()
    (clone / FIG3).write_text(text + text[text.index("tables:") :])
    sentence = refusal()
    assert FIG3 in sentence
    assert "'tables' stands twice" in sentence


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(
            "a: 1\nb: Lob\u00e4cheva\n".encode("latin-1"), "line 2: not UTF-8", id="not UTF-8"
        ),
        pytest.param(b"tables: [fig3\n", "not valid YAML", id="no YAML"),
        pytest.param(b"a: 1\n\tb: 2\n", "line 2: not valid YAML", id="a tab"),
    ],
)
def test_a_study_file_that_cannot_be_read(clone: Path, content: bytes, told: str) -> None:
    (clone / FIG3).write_bytes(content)
    sentence = refusal()
    assert FIG3 in sentence
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
        ({"device": "gpu"}, ["'device'", "'gpu'", "auto, cpu, cuda"]),
        ({"scale": "elsewhere/scales/huge"}, ["'scale'", "elsewhere/scales/huge"]),
        ({"papers": []}, ["'papers' is empty"]),
        ({"papers": ["periodic", "periodic"]}, ["'periodic' twice"]),
        ({"runs_per_gpu": 0}, ["'runs_per_gpu'", "at least 1"]),
        (
            {"processes_per_run": 3, "nodes_per_run": 2},
            ["'nodes_per_run'", "a divisor of processes_per_run, which is 3"],
        ),
        ({"progress_interval": 0}, ["'progress_interval'", "at least 0.1"]),
        ({"papers": ["periodical"]}, ["'papers'", "'periodical'", "known are periodic"]),
        ({"download": "perhaps"}, ["'download'", "'perhaps'", "of type boolean"]),
        ({"papers": ["../config"]}, ["'papers[0]'", "../config", "small letters and digits"]),
        (
            {"results": "$NO_SUCH_VARIABLE/x"},
            ["'results'", "$NO_SUCH_VARIABLE/x", "write the path"],
        ),
        ({"data": "~no_such_user/x"}, ["'data'", "~no_such_user/x", "write the path"]),
        ({"mirror": "ftp.example"}, ["'mirror'", "'ftp.example'"]),
        ({"papers": "periodic"}, ["'papers'", "'periodic'", "of type list"]),
        ({"on_departure": "go on"}, ["'on_departure'", "'go on'", "fail, train_anew"]),
        ({"capture": "always"}, ["'capture'", "'always'", "auto, never"]),
        ({"channels_last": "on"}, ["'channels_last'", "'on'", "always, auto, never"]),
    ],
)
def test_a_wrong_configuration(clone: Path, setting: dict[str, Any], told: list[str]) -> None:
    sentence = refusal(**copy.deepcopy(setting))
    assert "^" not in sentence, "no regular expressions"
    for part in ["config/config.yaml", *told]:
        assert part in sentence, sentence


def test_variables_and_the_home_folder_are_put_into_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    settings = {**read_yaml(ROOT / "config/config.yaml"), "results": "$SCRATCH/runs"}
    checked = layered([("", settings | {"data": "~/data"})])
    assert (checked["results"], checked["data"]) == ("/scratch/me/runs", "/home/me/data")


@pytest.mark.parametrize("key", ["capture", "channels_last"])
def test_a_choice_that_is_left_empty_is_automatic(key: str) -> None:
    settings = read_yaml(ROOT / "config/config.yaml")
    assert layered([("", settings)])[key] == "auto"
    for empty in (None, ""):
        assert layered([("", settings | {key: empty})])[key] == "auto"
    assert layered([("", settings | {key: "never"})])[key] == "never"


# What is laid over config/config.yaml


def laid_over(clone: Path, text: str = "", **options: Any) -> dict[str, Any]:
    """The settings of a call with --configfile mine.yaml and --config."""
    (clone / "mine.yaml").write_text(text or "{}")
    return read_settings([configuration_file(), clone / "mine.yaml"], "--config", options)


def test_later_settings_win(clone: Path) -> None:
    found = laid_over(clone, "scale: laptop\ndevice: cpu\n", scale="paper")
    assert (found["scale"], found["device"], found["results"]) == ("paper", "cpu", "results")


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("device: gpu", {}, "mine.yaml: key 'device' is 'gpu'"),
        ("", {"device": "gpu"}, "--config: key 'device' is 'gpu'"),
        ("device: gpu", {"device": "cpu", "scale": "huge"}, "--config: key 'scale' is 'huge'"),
        ("scale: huge", {}, "mine.yaml: key 'scale' is 'huge'"),
        ("", {"scael": "smoke"}, "--config: unknown key 'scael'"),
        ("device: cpu\ndevice: cuda", {}, "mine.yaml, line 2: key 'device' stands twice"),
        ("workers: 1:30", {}, "mine.yaml: key 'workers' is '1:30'; it must be of type integer"),
        ("papers: [periodic", {}, "mine.yaml, line 2: not valid YAML"),
    ],
)
def test_the_right_place_is_named(
    clone: Path, text: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(PerigeeError) as refused:
        laid_over(clone, text, **options)
    assert str(refused.value).startswith(told), str(refused.value)


def test_every_setting_can_be_handed_on_as_json(clone: Path) -> None:
    """The report does so with a second Snakemake, which takes `""` for None."""
    settings = {key: value for key, value in laid_over(clone).items() if value is not None}
    options = parse_config([f"{key}={json.dumps(value)}" for key, value in settings.items()])
    again = laid_over(clone, **options)
    assert {key: again[key] or settings[key] for key in settings} == settings


def test_a_number_is_what_a_human_takes_it_for(clone: Path) -> None:
    assert laid_over(clone, "workers: 010")["workers"] == 10


def test_another_folder_than_a_project(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "Snakefile").touch()  # it makes a folder with a configuration a project
    monkeypatch.chdir(clone / "config")
    with pytest.raises(PerigeeError, match="is not the project's folder; run it in"):
        configuration_file()


# Scales of one's own


def test_a_scale_is_a_folder_of_overlays(clone: Path) -> None:
    scale = clone / "config/scales/week"
    put(scale / "scale.yaml", {"description": "A week.", "tests_claims": True})
    put(scale / "periodic/fig3.yaml", {"runs": {"rates": {"epochs": 500}}})
    plan = planned(scale="week")
    assert plan.scale == "week"
    figure = plan.figures["periodic_fig3"]
    assert {run.epochs for run in figure.runs} == {500}
    assert figure.stamp["deviations"] == ["epochs 500 (paper: 1000)"]
    (clone / "config/scales/week").rename(clone / "elsewhere")
    elsewhere = planned(scale=str(clone / "elsewhere"))
    assert elsewhere.scale == "elsewhere"
    assert elsewhere.figures["periodic_fig3"].runs == figure.runs


def test_an_overlay_drops_a_sweep_or_one_of_its_values() -> None:
    sweep = {"parent.at.number": {"last": -1, "second_to_last": -2}, "seed": [0]}

    def with_(value: Any) -> Any:
        overlay = {"runs": {"far": {"sweep": {"parent.at.number": value}}}}
        found = merged({"runs": {"far": {"sweep": sweep}}}, overlay, "overlay.yaml")
        return found["runs"]["far"]["sweep"]

    assert with_(None) == {"seed": [0]}
    assert with_({"last": None}) == sweep | {"parent.at.number": {"second_to_last": -2}}


def test_a_folder_with_the_name_of_a_scale(clone: Path) -> None:
    put(clone / "mine/smoke/scale.yaml", {"description": "d", "tests_claims": True})
    assert "there is a scale 'smoke' already" in refusal(scale="mine/smoke")
    assert planned(scale="config/scales/smoke").scale == "smoke"


# Mistakes are reported in the file that has them


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("papers/periodic/fig3.yaml", "epochs: 1000", "epoch: 1000", "unknown key 'epoch'"),
        ("papers/periodic/fig3.yaml", "title: ", "titel: ", "unknown key 'titel'"),
        ("papers/periodic/paper.yaml", "width: 32", "widht: 32", "unknown key 'widht'"),
        (
            "papers/periodic/fig3.yaml",
            "optimiser.learning_rate:",
            "optimiser.learnig_rate:",
            "unknown key 'learnig_rate'",
        ),
    ],
)
def test_a_mistake_in_a_papers_file_is_not_blamed_on_an_overlay(
    clone: Path, file: str, old: str, new: str, told: str
) -> None:
    path = clone / "config" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    sentence = refusal()
    assert sentence.startswith(f"config/{file}: ")
    assert told in sentence


def test_a_mistake_at_another_scale_is_not_in_the_way(clone: Path) -> None:
    put(clone / "config/scales/laptop/periodic/fig3.yaml", {"runs": {"rates": {"epoch": 3}}})
    checked = layered([("config/config.yaml", settings() | {"scale": "smoke"})])
    assert make_plan(checked["papers"], "smoke").scale == "smoke"
    with pytest.raises(PerigeeError, match=r"config/scales/laptop/periodic/fig3\.yaml"):
        check_all_scales(checked["papers"])


def test_overlays_in_a_folder_below_are_refused(clone: Path) -> None:
    put(clone / "config/scales/laptop/periodic/claims/fig3.yaml", {"claims": {}})
    assert "config/scales/laptop/periodic/claims is a folder, and overlays lie in" in refusal()

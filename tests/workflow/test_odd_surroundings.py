"""A user's surroundings change no result and cause no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.workspace import Workspace

FIGURE = "periodic_fig2"
"""It is computed from a formula, so that drawing it anew takes seconds."""

QUESTION = "Does ρ grow with η — “as large as” 1 µm?"
NOBODY = 54321
"""A user id that has no name, as in containers."""

READING = (["store", "list"], ["store", "verify"], ["status", "--scale", "smoke"])
"""Commands that write nothing, with their options."""


@pytest.fixture(scope="module")
def drawn() -> Iterator[Workspace]:
    """A folder that every user may read, with one figure, and a question with Greek letters."""
    root = Path(tempfile.mkdtemp(prefix="perigee-test-"))
    root.chmod(0o755)
    workspace = Workspace.clone(root / "clone")
    workspace.edit_paper(lambda study: study.update(figures={"fig2": study["figures"]["fig2"]}))
    workspace.edit_yaml("config/config.yaml", lambda c: c.update(papers=["periodic"]))
    path = workspace.root / "config/studies/label_smoothing.yaml"
    study = yaml.safe_load(path.read_text(encoding="utf-8")) | {"question": QUESTION}
    path.write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    workspace.make(FIGURE)
    yield workspace
    shutil.rmtree(root)


@pytest.fixture
def workspace(drawn: Workspace) -> Iterator[Workspace]:
    """A copy of it."""
    yield (copy := drawn.copy(drawn.root.parent / "copy"))
    shutil.rmtree(copy.root)


def snakemake(
    workspace: Workspace, *options: str, user: int | None = None, **environment: str
) -> str:
    """`snakemake <figure>` at smoke scale; what it printed."""
    command = ["snakemake", *options, FIGURE, "--config", "scale=smoke"]
    return run(workspace, *command, user=user, **environment)


def run(workspace: Workspace, *command: str, user: int | None = None, **environment: str) -> str:
    """A command in the workspace, perhaps as another user; what it printed."""
    surroundings = {
        name: value
        for name, value in os.environ.items()
        if user is None or name not in ("LOGNAME", "USER", "LNAME", "USERNAME")
    }
    python = str(Path(sys.executable).parent)
    surroundings["PATH"] = os.pathsep.join([python, os.environ["PATH"]])
    options: dict[str, Any] = {}
    if user is not None:
        options = {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        command,
        cwd=workspace.root,
        env={**surroundings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
        **options,
    )
    printed = done.stdout.decode("utf-8", errors="replace")
    assert done.returncode == 0, printed
    assert "Traceback" not in printed
    return printed


def files(workspace: Workspace) -> dict[str, bytes]:
    """The content of the figure's published files without the notebook, which has times in it."""
    folder = workspace.root / "results/smoke/figures"
    return {kind: (folder / f"{FIGURE}.{kind}").read_bytes() for kind in ("pdf", "png", "csv")}


def git_of(workspace: Workspace) -> Any:
    """The commit that the figure's provenance names."""
    return json.loads(workspace.store(f"figure/{FIGURE}-*/provenance.json").read_text())["git"]


def files_of_a_user(workspace: Workspace) -> dict[str, str]:
    """Everything that a user may have set up for matplotlib, Jupyter, Python and git."""
    home = workspace.root.parent / "home"
    contents = {
        ".config/matplotlib/matplotlibrc": "text.usetex: True\nsavefig.transparent: True\n",
        "jupyter/kernels/python3/kernel.json": json.dumps(
            {"argv": ["false"], "display_name": "Another", "language": "python"}
        ),
        ".jupyter/jupyter_config.json": '{"KernelManager": {"ip": "203.0.113.1"}}',
        ".ipython/profile_default/startup/first.py": "raise SystemExit(3)\n",
        ".ipython/profile_default/ipython_config.py": "raise SystemExit(3)\n",
        "modules/pyarrow/__init__.py": "raise ImportError('another pyarrow')\n",
        "modules/matplotlib/__init__.py": "raise ImportError('another matplotlib')\n",
    }
    for name, text in contents.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", home / "other"], check=True)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "JUPYTER_PATH": str(home / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "PYTHONPATH": str(home / "modules"),
        "MPLBACKEND": "tkagg",
        "GIT_DIR": str(home / "other/.git"),
        "GIT_WORK_TREE": str(home / "other"),
        "GIT_INDEX_FILE": str(home / "other/index"),
    }


def narrow_locale(workspace: Workspace) -> dict[str, str]:
    """Text is ASCII to Python, and the checkout has the line ends of another system."""
    for name in ("Snakefile", "workflow", "config", "profiles"):
        top = workspace.root / name
        for path in [top] if top.is_file() else [p for p in top.rglob("*") if p.is_file()]:
            if path.suffix in (".py", ".smk", ".yaml", ".json", ".rst", ".j2", ""):
                path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def folders_that_cannot_be_written(workspace: Workspace) -> dict[str, str]:
    """Neither HOME nor TMPDIR, as in a container."""
    return {"HOME": "/proc/nowhere", "TMPDIR": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"}


@pytest.mark.parametrize("odd", [files_of_a_user, narrow_locale, folders_that_cannot_be_written])
def test_the_same_figure_whatever_the_surroundings(
    odd: Callable[[Workspace], dict[str, str]], drawn: Workspace, workspace: Workspace
) -> None:
    """Nothing is to be made in the odd surroundings, and what is made anew there is the same."""
    surroundings = odd(workspace)
    before = git_of(workspace)
    assert "Nothing to be done" in snakemake(workspace, "-n", **surroundings)
    shutil.rmtree(workspace.store(f"figure/{FIGURE}-*"))
    shutil.rmtree(workspace.root / "results/smoke/figures")
    snakemake(workspace, **surroundings)
    assert files(workspace) == files(drawn)
    assert git_of(workspace) == before


as_another_user = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(
        [sys.executable, "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], check=False
    ).returncode
    != 0,
    reason="needs root, and a Python that every user may run",
)


@as_another_user
def test_a_user_without_a_name_draws_the_figure(drawn: Workspace, workspace: Workspace) -> None:
    shutil.rmtree(workspace.store(f"figure/{FIGURE}-*"))
    shutil.rmtree(workspace.root / "results/smoke/figures")
    for path in (workspace.root, *workspace.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    snakemake(workspace, user=NOBODY, **folders_that_cannot_be_written(workspace))
    assert files(workspace) == files(drawn)


@as_another_user
def test_who_may_only_read_the_results_can_look_at_them(
    drawn: Workspace, workspace: Workspace
) -> None:
    """A dry run and the programs that only read, in a checkout of one's own; nothing is changed."""
    shared, results = drawn.root / "results", workspace.root / "results"
    shutil.rmtree(results)
    results.symlink_to(shared)
    (shared / "store/run/r-0123456789abcdef").mkdir(parents=True, exist_ok=True)
    (shared / "store/run/r-0123456789abcdef/.lock").touch()
    for path in (workspace.root, *workspace.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    before = {path: path.lstat().st_mtime_ns for path in shared.rglob("*")}
    assert "Nothing to be done" in snakemake(workspace, "-n", user=NOBODY)
    library = str(workspace.root / "workflow")
    for words in READING:
        run(workspace, "python", "-m", "perigee", *words, user=NOBODY, PYTHONPATH=library)
    assert {path: path.lstat().st_mtime_ns for path in shared.rglob("*")} == before


@pytest.mark.parametrize("link", ["results", "results/smoke"])
def test_a_link_to_nothing_is_told_in_a_dry_run(link: str, workspace: Workspace) -> None:
    path = workspace.root / link
    shutil.rmtree(path)
    path.symlink_to(workspace.root / "gone")
    results = "results" if link == "results" else "results/smoke/mine"
    done = workspace.run("snakemake", "-n", FIGURE, "--config", f"results={results}")
    assert done.returncode != 0
    assert f"{link} is a link to " in done.stdout
    assert "Traceback" not in done.stdout


def test_a_variable_in_the_results_folder(workspace: Workspace) -> None:
    """The results stand where the variable says, and no folder has its name."""
    (workspace.root / "results").rename(workspace.root / "elsewhere")
    setting = ("--config", "scale=smoke", "results=$WHERE/elsewhere")
    printed = run(workspace, "snakemake", "-n", FIGURE, *setting, WHERE=str(workspace.root))
    assert "Nothing to be done" in printed
    assert not (workspace.root / "$WHERE").exists()


def test_a_configuration_file_beside_a_profile_is_read_with_the_profiles(
    workspace: Workspace,
) -> None:
    (workspace.root / "mine.yaml").write_text("save_interval: 30\n")
    slurm = ("snakemake", "-n", "--profile", "slurm", "--configfile")
    done = workspace.run(*slurm, "mine.yaml", "--", FIGURE)
    assert done.returncode != 0
    assert "--configfile config/paper.yaml config/cluster.yaml mine.yaml" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("mirror", ["", "https://mirror.example/a b"])
def test_a_data_set_is_built_with_a_mirror_and_without(mirror: str, workspace: Workspace) -> None:
    target = ("study_label_smoothing", "--until", "build_dataset")
    setting = ("--config", "scale=smoke", f"mirror={mirror}")
    told = workspace.run("snakemake", *target, *setting)
    assert told.returncode == 0, told.stdout
    assert ("--mirror 'https://mirror.example/a b' " in told.stdout) == bool(mirror)

"""Blocks of the user's own: registered from the project's package, and in their runs' digests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perigee import registry
from perigee.configuration.own_blocks import register_own_blocks
from perigee.configuration.runs import resolved_run
from perigee.errors import PerigeeError
from perigee.identity.code import code_digest, module_digests
from perigee.identity.products import run_identity
from support.package_copies import forget

DECLARATION = """
from perigee.blocks.optimisers import Optimiser

class SignDescent(Optimiser, name="sign_descent", code="own_blocks.steps:SignDescent"):
    "Sign descent."
"""
STEPS = """
from own_blocks import helpers
from . import helpers as again
from perigee.kernel.flat import FlatParameters
FACTOR = 1

class SignDescent:
    pass
"""
RUN = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "scale_invariant": True, "width": 4},
    "optimiser": {"name": "sign_descent", "learning_rate": 0.1, "weight_decay": 0.01},
    "batch_size": 128,
    "seed": 0,
}


class Project:
    """A folder with a configuration that names a package of blocks."""

    def __init__(self, root: Path) -> None:
        self.configuration = root / "config/config.yaml"
        self.configuration.parent.mkdir()
        self.configuration.write_text("scale: smoke\nblocks: own_blocks\n")
        self.package = root / "own_blocks"
        self.package.mkdir()
        self.write("__init__", DECLARATION)
        self.write("steps", STEPS)
        self.write("helpers", "ONE = 1\n")

    def write(self, module: str, source: str) -> None:
        (self.package / f"{module}.py").write_text(source)
        forget()

    def register(self) -> None:
        register_own_blocks(self.configuration)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    known = {kind: dict(blocks) for kind, blocks in registry.REGISTRY.items()}
    yield Project(tmp_path)
    for kind, blocks in known.items():
        registry.REGISTRY[kind].clear()
        registry.REGISTRY[kind].update(blocks)
    registry.OWN_PACKAGES.clear()
    for module in [one for one in sys.modules if one.partition(".")[0] == "own_blocks"]:
        del sys.modules[module]
    forget()


def refusal(project: Project) -> str:
    with pytest.raises(PerigeeError) as refused:
        project.register()
    return str(refused.value)


def test_a_declared_block_can_be_named(project: Project) -> None:
    project.register()
    project.register()  # once is enough
    run = resolved_run(RUN, "run", "a study")
    assert run.optimiser.name == "sign_descent"
    assert run_identity(run, "0").name.startswith("convnet-digits-lr0.1")


def test_its_code_is_in_the_digests_of_its_runs_and_of_no_others(project: Project) -> None:
    project.register()
    own, ours = resolved_run(RUN, "run", ""), "perigee.kernel.optimisers.sgd"
    assert {"own_blocks.steps", "own_blocks.helpers"} <= set(run_identity(own, "0").modules)
    before, others = run_identity(own, "0").digest, code_digest([ours])
    # What only declares is not code, so that a block more changes no run.
    project.write("__init__", f"{DECLARATION}\n{DECLARATION.replace('sign', 'other_sign')}")
    assert run_identity(own, "0").digest == before
    project.write("steps", f"# A comment.\n{STEPS}")
    assert run_identity(own, "0").digest == before
    for module in ("steps", "helpers"):
        project.write(module, f"{STEPS}\nFACTOR = 2\n" if module == "steps" else "ONE = 2\n")
        changed = run_identity(own, "0").digest
        assert changed != before
        before = changed
    assert code_digest([ours]) == others


def test_what_is_imported_from_the_declarations_counts(project: Project) -> None:
    project.register()
    assert "own_blocks" not in module_digests(["own_blocks.steps"])
    project.write("steps", f"{STEPS}\nfrom own_blocks import SignDescent\n")
    assert "own_blocks" in module_digests(["own_blocks.steps"])


def test_a_name_of_ours_is_refused(project: Project) -> None:
    project.write("__init__", DECLARATION.replace("sign_descent", "sgd"))
    told = refusal(project)
    assert "already a block of kind 'optimiser' named 'sgd'" in told
    assert "perigee.blocks.optimisers.SGD" in told
    assert "give SignDescent another name" in told


@pytest.mark.parametrize("code", ["own_blocks.nope:SignDescent", "own_blocks.steps:Nope"])
def test_a_declaration_of_what_is_not_there_is_refused(project: Project, code: str) -> None:
    project.write("__init__", DECLARATION.replace("own_blocks.steps:SignDescent", code))
    told = refusal(project)
    module, _, name = code.partition(":")
    assert f"own_blocks/__init__.py: the block 'sign_descent' has code=\"{code}\"" in told
    assert f"there is no '{name}' in {module}" in told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b"class SignDescent\n    pass\n", "steps.py, line 1: expected ':'; mend that line."),
        ("# \u00e4\n".encode("latin-1"), "steps.py is not UTF-8"),
    ],
    ids=["not Python", "not UTF-8"],
)
def test_a_module_that_cannot_be_read_is_refused(
    project: Project, source: bytes, told: str
) -> None:
    (project.package / "steps.py").write_bytes(source)
    assert told in refusal(project)


def test_names_may_come_from_another_module(project: Project) -> None:
    project.write("helpers", "class SignDescent:\n    pass\n")
    project.write("steps", "from .helpers import *\n")
    project.register()


def test_a_package_that_cannot_be_imported_is_told_with_its_error(project: Project) -> None:
    project.write("__init__", "import no_such_module\n")
    told = refusal(project)
    assert "own_blocks/__init__.py cannot be imported (ModuleNotFoundError: No module named" in told
    assert "\n" not in told
    project.write("__init__", DECLARATION)
    project.register()


def test_a_block_without_code_is_refused(project: Project) -> None:
    project.write("__init__", DECLARATION.replace(', code="own_blocks.steps:SignDescent"', ""))
    assert "'sign_descent' has no kind or no code" in refusal(project)


def test_a_block_that_is_not_of_its_kinds_class_is_refused(project: Project) -> None:
    declaration = DECLARATION.replace("optimisers import Optimiser", "base import Block")
    declaration = declaration.replace("(Optimiser,", '(Block, kind="measure",')
    project.write("__init__", declaration)
    assert (
        "'sign_descent' has the kind 'measure', but is not derived from "
        "perigee.blocks.measures.Measure; derive it from that class." in refusal(project)
    )


def test_a_block_of_a_kind_that_there_is_not_is_refused(project: Project) -> None:
    declaration = DECLARATION.replace("optimisers import Optimiser", "base import Block")
    declaration = declaration.replace("(Optimiser,", '(Block, kind="optimizer",')
    project.write("__init__", declaration)
    told = refusal(project)
    assert "'sign_descent' has the kind 'optimizer', which there is not; known are" in told
    assert "model, optimiser, " in told


def test_a_named_package_has_to_be_there(project: Project) -> None:
    (project.package / "__init__.py").unlink()
    assert "there is no own_blocks/__init__.py" in refusal(project)
    project.configuration.write_text("scale: smoke\n")
    project.register()
    assert registry.OWN_PACKAGES == {}


def test_without_the_key_it_is_the_package_named_blocks(project: Project) -> None:
    project.configuration.write_text("scale: smoke\n")
    project.package.rename(project.package.with_name("blocks"))
    project.package = project.package.with_name("blocks")
    project.write("__init__", DECLARATION.replace("own_blocks", "blocks"))
    project.register()
    assert "sign_descent" in registry.REGISTRY["optimiser"]
    del sys.modules["blocks"]


def test_a_name_that_python_needs_is_refused(project: Project) -> None:
    project.package.rename(project.package.with_name("types"))
    project.configuration.write_text("blocks: types\n")
    assert "a Python module named 'types' was imported before" in refusal(project)


def test_only_the_file_that_jobs_read_names_the_package(project: Project) -> None:
    with pytest.raises(PerigeeError, match=r"only .*config.yaml can name the package"):
        register_own_blocks(project.configuration, {"blocks": "others"})

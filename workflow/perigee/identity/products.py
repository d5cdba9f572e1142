"""The identity of each kind of product, and the folder that follows from it.

A product's digest covers its spec, the code that makes its numbers, and the digests of its inputs.
The workflow and the programs compute it with the same functions, so a program can refuse to write a
product that its code would not make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from perigee.blocks.analyses import Analysis
from perigee.blocks.base import Block
from perigee.blocks.datasets import Dataset
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Measure
from perigee.blocks.optimisers import UpdateRule
from perigee.identity.canonical import digest
from perigee.identity.code import code_digest, imported_modules, module_digests, program_digest
from perigee.identity.equivalences import counting_code
from perigee.paths import NOTEBOOKS, template
from perigee.spec import Claim, RunSpec

DATASET_ROOTS = ("perigee.data.building",)
RUN_ROOTS = ("perigee.kernel.trainer", "perigee.kernel.execution")
FORK_ROOTS = ("perigee.measures.checkpoints", "perigee.checkpoints")
COURSE_ROOTS = ("perigee.measures.passes", "perigee.analysis.inputs")
CLAIMS_ROOTS = ("perigee.claims.judging",)
FIGURE_ROOTS = ("perigee.plotting.notebook",)
"""The modules that make every product of a kind, beside the blocks that its spec names.

A fork is a run that starts from a kept checkpoint. Its rule may depend on its parent's course: on
the values that passes over the data give, whatever other columns the measure has.
"""

STORAGE_ROOTS = {
    "arrays": "perigee.data.array_files",
    "files": "perigee.data.file_datasets",
    "annotated_files": "perigee.data.annotated_files",
}
"""The modules that write data sets and read them for training, by how they are stored."""


@dataclass(frozen=True)
class Identity:
    """The identity of a product.

    Attributes:
        kind: "dataset", "run", "measure", "evaluation", "table", "figure" or "claims".
        name: a name for readers, without information beyond spec and inputs.
        spec: the spec as canonical plain data.
        code: digest of the code that makes it, or of older code that is proven to make the same.
        inputs: digests of the products it is made from, by role.
        code_at_hand: digest of the code that makes it now, if that is not `code`.
        modules: digest of each module of the current code.
    """

    kind: str
    name: str
    spec: Any
    code: str
    inputs: Mapping[str, Any]
    code_at_hand: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The digest of kind, spec, code and inputs."""
        return digest(
            {"kind": self.kind, "spec": self.spec, "code": self.code, "inputs": self.inputs}
        )

    @cached_property
    def label(self) -> str:
        """The name of the product's folder, <name>-<digest>."""
        return f"{self.name}-{self.digest}"

    @cached_property
    def folder(self) -> str:
        """The product's folder below the store, <kind>/<name>-<digest>."""
        return f"{self.kind}/{self.label}"


def dataset_identity(dataset: Dataset) -> Identity:
    """The identity of a data set."""
    return _identity(
        "dataset", dataset.name, dataset.to_dict(), _code([dataset], *DATASET_ROOTS), {}
    )


def run_identity(spec: RunSpec, dataset_digest: str) -> Identity:
    """The identity of a training run, independent of its number of epochs.

    Args:
        spec: the run's spec; a parent is trained on the same data set.
        dataset_digest: the data set's digest.
    """
    blocks = [block for kind, block in spec.blocks.items() if kind != "dataset"]
    inputs: dict[str, Any] = {"dataset": dataset_digest}
    roots = [*RUN_ROOTS, STORAGE_ROOTS[spec.dataset.stored_as]]
    parent = spec.parent
    if parent is not None:
        blocks.append(parent.at)
        inputs["parent"] = run_identity(parent.run, dataset_digest).digest
        roots += FORK_ROOTS
        roots += COURSE_ROOTS if parent.at.reads else ()
    name = f"{spec.model.name}-{spec.dataset.name}-{_rates(spec.optimiser)}-seed{spec.seed}"
    if parent is not None:
        name += f"-fork-{parent.at.name}"
    return _identity("run", name, spec.to_dict(), _code(blocks, *roots), inputs)


def measure_identity(measure: Measure, run: Identity) -> Identity:
    """The identity of a measure of a run, independent of the run's number of epochs."""
    return _identity(
        "measure", measure.name, measure.to_dict(), _code([measure]), {"run": run.digest}
    )


def evaluation_identity(
    evaluation: Evaluation, run: Identity, epochs: int, checkpoints: Identity
) -> Identity:
    """The identity of an evaluation of a run's checkpoints.

    Args:
        evaluation: the evaluation's block.
        run: the run's identity, whose digest covers the data set too.
        epochs: the number of epochs whose checkpoints are evaluated.
        checkpoints: the measure that keeps them.
    """
    spec = {**evaluation.to_dict(), "epochs": epochs}
    inputs = {"run": run.digest, "checkpoints": checkpoints.digest}
    return _identity(
        "evaluation", f"{evaluation.name}-{run.name}", spec, _code([evaluation]), inputs
    )


def table_identity(name: str, analysis: Analysis, runs: Sequence[Mapping[str, Any]]) -> Identity:
    """The identity of a table.

    Args:
        name: a name for readers.
        analysis: the analysis that computes it.
        runs: for each run that it reads, in order: the digest, the epochs, the swept values, and
            the digests of measures and evaluations by name.
    """
    return _identity("table", name, analysis.to_dict(), _code([analysis]), {"runs": list(runs)})


def figure_identity(
    key: str,
    stamp: Mapping[str, Any],
    tables: Mapping[str, str],
    parameters: Mapping[str, Any] | None = None,
) -> Identity:
    """The identity of a figure.

    Args:
        key: <paper>_<figure>, whose notebook is workflow/notebooks/<key>.py, or study_<name>.
        stamp: the text printed below it.
        tables: digests of the tables it draws, by name.
        parameters: further parameters of the notebook.
    """
    notebook = NOTEBOOKS / f"{template(key)}.py"
    code = _Code(
        digest([program_digest(notebook), code_digest(FIGURE_ROOTS)]),
        module_digests([*FIGURE_ROOTS, *imported_modules(notebook)]),
    )
    spec = {"key": key, "stamp": dict(stamp)}
    if parameters:
        spec["parameters"] = dict(parameters)
    return _identity("figure", key, spec, code, {"tables": tables})


def claims_identity(key: str, claims: Sequence[Claim], tables: Mapping[str, str]) -> Identity:
    """The identity of the verdicts on a figure's claims.

    Args:
        key: <paper>_<figure>.
        claims: at least one claim; their wording does not count.
        tables: digests of the tables that they are measured on, by name.
    """
    # An error's words say why a claim cannot be measured, and are part of the product.
    code = _code([claim.quantity for claim in claims], *CLAIMS_ROOTS, words=True)
    spec = {"key": key, "claims": [claim.rule for claim in claims]}
    return _identity("claims", key, spec, code, {"tables": tables})


@dataclass(frozen=True)
class _Code:
    """The digest of some code, and that of each of its modules."""

    digest: str
    modules: Mapping[str, str]


def _identity(kind: str, name: str, spec: Any, code: _Code, inputs: Mapping[str, Any]) -> Identity:
    counting = counting_code(kind, code.digest)
    at_hand = None if counting == code.digest else code.digest
    return Identity(kind, name, spec, counting, inputs, at_hand, code.modules)


def _code(blocks: Iterable[Block], *roots: str, words: bool = False) -> _Code:
    """The code of the blocks that a spec names, with that of the modules that use them."""
    targets = sorted({block.code for block in blocks})
    modules = sorted({*roots, *(target.partition(":")[0] for target in targets)})
    return _Code(
        digest([code_digest(modules, words=words), *targets]), module_digests(modules, words=words)
    )


def _rates(rule: UpdateRule) -> str:
    """The rates of an update rule, as a folder's name tells them."""
    told = {"learning_rate": "lr", "effective_learning_rate": "elr", "weight_decay": "wd"}
    given = rule.parameters
    return "-".join(f"{short}{given[name]:g}" for name, short in told.items() if name in given)

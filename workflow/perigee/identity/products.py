"""The identity of each kind of product, and the folder that follows from it.

A product's digest is taken over its spec, the code of its program for that spec, and the digests
of its inputs. The workflow and the programs compute it with these same functions, so a program
can refuse to write a product that its code would not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from perigee.identity.canonical import digest
from perigee.identity.code import code_digest, module_digests
from perigee.identity.equivalences import counting_code
from perigee.paths import NOTEBOOKS, SCRIPTS, template
from perigee.registry import Registration, registration
from perigee.spec import COMPONENT_FIELDS, Claim, Component, RunSpec


@dataclass(frozen=True)
class Identity:
    """What a product is.

    Attributes:
        kind: "dataset", "run", "predictions", "table", "figure" or "claims".
        name: for readers; says nothing that spec and inputs do not.
        spec: canonical plain data.
        code: digest of the code that makes it, or of older code that is proven to make the same.
        inputs: digests of the products it is made from, by role.
        code_at_hand: digest of the code that makes it now, if that is not `code`.
        modules: digest of each module of the code at hand.
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
        """Over kind, spec, code and inputs."""
        return digest(
            {"kind": self.kind, "spec": self.spec, "code": self.code, "inputs": self.inputs}
        )

    @cached_property
    def folder(self) -> str:
        """<kind>/<name>-<digest>, below the store."""
        return f"{self.kind}/{self.name}-{self.digest}"


def dataset_identity(dataset: Component) -> Identity:
    """A data set's array file."""
    code = _code("build_dataset.py", {"dataset": dataset})
    return _identity("dataset", dataset.name, dataset.to_dict(), code, {})


def run_identity(spec: RunSpec, dataset_digest: str) -> Identity:
    """A training run, whatever its number of epochs.

    Args:
        spec: of the run; a parent is trained on the same data set.
        dataset_digest: of the data set.
    """
    components = {kind: getattr(spec, kind) for kind in COMPONENT_FIELDS if kind != "dataset"}
    inputs = {"dataset": dataset_digest}
    if spec.parent is not None:
        components["fork"] = spec.parent.at
        inputs["parent"] = run_identity(spec.parent.run, dataset_digest).digest
    code = _code("train.py", components)
    rule = spec.optimiser.parameters
    name = (
        f"{spec.model.name}-{spec.dataset.name}-lr{_short(rule['learning_rate'])}"
        f"-wd{_short(rule['weight_decay'])}-seed{spec.seed}"
    )
    if spec.parent is not None:
        name += f"-fork-{spec.parent.at.name}"
    return _identity("run", name, spec.to_dict(), code, inputs)


def predictions_identity(
    run: str, digest: str, model: Component, epochs: int, keep_every: int
) -> Identity:
    """The predictions of a run's kept checkpoints on its test set.

    Args:
        run, digest: name and digest of the run, which settles the data set too.
        model: the run's.
        epochs, keep_every: of the version that keeps the checkpoints.
    """
    code = _code("predict.py", {"model": model})
    spec = {"epochs": epochs, "keep_every": keep_every}
    return _identity("predictions", run, spec, code, {"run": digest})


def table_identity(name: str, analysis: Component, runs: Sequence[Mapping[str, Any]]) -> Identity:
    """A table.

    Args:
        name: for readers.
        analysis: what computes it.
        runs: of each run it reads the digest, the epochs and the swept values, in order, and where
            it reads checkpoints the digest of their predictions.
    """
    code = _code("make_table.py", {"analysis": analysis})
    return _identity("table", name, analysis.to_dict(), code, {"runs": list(runs)})


def figure_identity(
    key: str,
    stamp: Mapping[str, Any],
    tables: Mapping[str, str],
    parameters: Mapping[str, Any] | None = None,
) -> Identity:
    """A figure.

    Args:
        key: <paper>_<figure>, whose notebook is workflow/notebooks/<key>.py, or study_<name>.
        stamp: what is printed below it.
        tables: digests of the tables it draws, by name.
        parameters: of the notebook, beside these.
    """
    notebook = NOTEBOOKS / f"{template(key)}.py"
    text = hashlib.sha256(notebook.read_bytes()).hexdigest()  # its prose is part of the product
    program = SCRIPTS / "draw_figure.py"
    code = _Code(
        digest([code_digest(notebook), text, code_digest(program)]),
        {**module_digests(notebook), **module_digests(program)},
    )
    spec = {"key": key, "stamp": dict(stamp)}
    if parameters:
        spec["parameters"] = dict(parameters)
    return _identity("figure", key, spec, code, {"tables": tables})


def claims_identity(key: str, claims: Sequence[Claim], tables: Mapping[str, str]) -> Identity:
    """The verdicts on a figure's claims.

    Args:
        key: <paper>_<figure>.
        claims: at least one.
        tables: digests of the tables that they are measured on, by name.
    """
    quantities = [registration("quantity", claim.quantity) for claim in claims]
    code = _code_of("judge_claims.py", quantities)
    spec = {"key": key, "claims": [claim.to_dict() for claim in claims]}
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


def _code(script: str, components: Mapping[str, Component]) -> _Code:
    return _code_of(script, [registration(kind, block) for kind, block in components.items()])


def _code_of(script: str, blocks: Sequence[Registration]) -> _Code:
    """A program's code, with that of the blocks that a spec names."""
    modules = [block.module for block in blocks]
    closure = code_digest(SCRIPTS / script, modules)
    return _Code(
        digest([closure, *(block.target for block in blocks)]),
        module_digests(SCRIPTS / script, modules),
    )


def _short(number: float) -> str:
    return f"{number:g}"

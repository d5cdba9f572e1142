"""The base class of evaluations of checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perigee.checkpoints import KeptCheckpoints
from perigee.kernel.execution import Execution
from perigee.spec import RunSpec

if TYPE_CHECKING:  # the identity of an evaluation of arrays does not depend on files
    from perigee.data.saving import AnyDataset


@dataclass(frozen=True)
class EvaluationInput:
    """A finished run whose checkpoints are evaluated.

    Attributes:
        spec: the run's spec.
        dataset: the data set that it was trained on.
        execution: where and how to compute.
        checkpoints: the run's kept checkpoints.
        told: a callback, called after every checkpoint with how many are done; what it raises ends
            the evaluation.
    """

    spec: RunSpec
    dataset: AnyDataset
    execution: Execution
    checkpoints: KeptCheckpoints
    told: Callable[[int], None]


class Evaluation:
    """The base class of evaluations, which compute files from a run's kept checkpoints.

    Attributes:
        files: the names of the files that `write` writes.
    """

    files: tuple[str, ...] = ()

    def write(self, run: EvaluationInput, folder: Path) -> None:
        """Compute the files, checkpoint by checkpoint, and write them into a folder."""
        raise NotImplementedError

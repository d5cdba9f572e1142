"""A run driven from Python: spec, arrays, initial state and order in, measures and state out.

Nothing is written to the store. This serves comparisons with another implementation, which can be
given the same images, weights and batches (docs/python.md has an example).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from perigee import registry
from perigee.analysis.inputs import is_table, table_of
from perigee.configuration.own_blocks import register_own_blocks
from perigee.configuration.runs import resolved_run
from perigee.configuration.validation import validated_block
from perigee.data.building import build_dataset
from perigee.data.saving import AnyDataset
from perigee.errors import PerigeeError
from perigee.kernel.execution import prepare
from perigee.kernel.names import CONSTRAINT, MODEL, OPTIMISER
from perigee.kernel.trainer import Start, Trainer
from perigee.models.proof import prove_declaration
from perigee.paths import settings_file
from perigee.spec import RunSpec
from perigee.training.beginning import begin
from perigee.training.loop import train as train_to_the_end
from perigee.training.recording import LOSSES, Recorder

State = Mapping[str, NDArray[Any]]
"""Arrays by name, "model.<tensor>", "optimiser.<tensor>" and "constraint.<tensor>"."""

BUNDLED = {"dataset": {"name": "digits"}}
"""The placeholder in a spec that names no data set, because one is given as arrays."""


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        losses: the loss of every step, at the weights before it.
        measures: the measures by name: tables with a row per epoch or step, or structured arrays
            for measures with arrays in their rows.
        state: the state after the last epoch.
        stopped_at_step: the step, counted from 0, at which the run diverged, that is, the first
            whose loss was not finite; training ended with its epoch. None if it did not diverge.
    """

    losses: NDArray[np.float64]
    measures: Mapping[str, pd.DataFrame | NDArray[Any]]
    state: State
    stopped_at_step: int | None


def train(
    spec: Mapping[str, Any],
    epochs: int,
    *,
    dataset: AnyDataset | None = None,
    measures: Sequence[str | Mapping[str, Any]] = ("metrics",),
    start: State | None = None,
    first_epoch: int = 0,
    order: Callable[[int], NDArray[np.integer]] | None = None,
    device: str = "cpu",
) -> Trained:
    """Train a run in memory, with the same numbers as the workflow gives for the same spec.

    Args:
        spec: as a run of a paper's file, or as `perigee.access.Run.spec` gives it.
        epochs: how many; with 0 the initialisation is measured, and its state given back.
        dataset: to be trained on; the spec then need not name one. None takes the spec's, whose
            files, if it is not a bundled one, have to lie in the folder ``data``.
        measures: names, or mappings of a name and parameters.
        start: the initial state. Tensors of the network that it lacks are initialised as usual.
            With tensors of optimiser or constraint, as in a checkpoint, the run continues from it
            as a fork does; with those of the network alone, optimiser and schedule start afresh.
        first_epoch: the epoch of data order and augmentation at which the run begins; with
            ``start``.
        order: a function from the epoch, from ``first_epoch`` on, to the order of the training
            images, a permutation of their numbers. None draws it from the seed.
        device: "cpu", "cuda", "cuda:1", ..., or "auto".

    Raises:
        PerigeeError: spec, measures, start or order are wrong, or the device is not available.
    """
    register_own_blocks(settings_file())
    if dataset is not None:
        spec = {**BUNDLED, **spec}
    run = resolved_run(spec, "", "The spec")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise PerigeeError(f"'epochs' is {epochs!r}; it must be a whole number, at least 0.")
    if start is None and (run.parent is not None or first_epoch):
        reason = "the spec has a 'parent'" if run.parent else f"'first_epoch' is {first_epoch}"
        raise PerigeeError(
            f"{reason}, but no state is given that the run starts from; give 'start'."
        )
    wanted = [_measure(one) for one in measures]
    if dataset is None:
        dataset = build_dataset(run.dataset, settings_file().parents[1] / "data", download=False)
    with _torch_left_as_it_is(), tempfile.TemporaryDirectory(prefix="perigee-") as folder:
        execution = prepare(device, run.precision, dataset.image_shape)
        checked = None if order is None else _checked(order, len(dataset.splits["train"]))
        fresh = Trainer(run, dataset, execution, epoch_order=checked)
        prove_declaration(fresh.model, fresh.task.image_shape)
        trainer = fresh
        if start is not None:
            beginning = _start(run, fresh, start, first_epoch)
            trainer = Trainer(run, dataset, execution, start=beginning, epoch_order=checked)
        live = {one.name: registry.load(one)(trainer, **one.parameters) for one in wanted}
        recorder = Recorder(trainer, Path(folder), live, epochs)
        begin(recorder, None)
        train_to_the_end(trainer, recorder)
        recorder.close()
        rows = {name: np.load(log.path, allow_pickle=False) for name, log in recorder.logs.items()}
        steps = trainer.task.steps_per_epoch
        return Trained(
            losses=rows[LOSSES],
            measures={
                name: table_of(rows[name], steps) if is_table(rows[name]) else rows[name]
                for name in live
            },
            state={name: value.numpy() for name, value in trainer.state().items()},
            stopped_at_step=recorder.position.stopped_at_step,
        )


def _measure(given: str | Mapping[str, Any]) -> Any:
    value = {"name": given} if isinstance(given, str) else given
    return validated_block("measure", value, "The measures", "measures")


def _start(run: RunSpec, fresh: Trainer, given: State, first_epoch: int) -> Start:
    """Check the state that a run starts from against the run's own tensors, and complete it.

    Args:
        run: the run's spec, with its parent if it is a fork.
        fresh: the run at its initialisation.
        given: the state that the user gives.
        first_epoch: the epoch of data order and augmentation.

    Raises:
        PerigeeError: a name or a shape is wrong, or a tensor is missing.
    """
    own = fresh.state()
    goes_on = any(not name.startswith(MODEL) for name in given)
    origin = None
    if goes_on:
        origin = run if run.parent is None else run.parent.run
    kept = [MODEL]
    if origin is not None:
        kept += [OPTIMISER] * (origin.optimiser == run.optimiser)
        kept += [CONSTRAINT] * (origin.constraint == run.constraint)
    for name, value in own.items():
        shape = tuple(value.shape)
        if name in given and np.shape(given[name]) != shape:
            raise PerigeeError(
                f"'start' has '{name}' of shape {np.shape(given[name])}, but in this run it has "
                f"the shape {shape}."
            )
        if name not in given and not name.startswith(MODEL) and name.startswith(tuple(kept)):
            raise PerigeeError(f"'start' lacks '{name}', with which the run would go on; add it.")
    unknown = next((n for n in given if n.startswith(tuple(kept)) and n not in own), None)
    if unknown is not None:
        known = ", ".join(name for name in own if name.startswith(tuple(kept)))
        raise PerigeeError(f"'start' has '{unknown}', which this run has not; known are {known}.")
    state = {name: np.array(value) for name, value in given.items()}
    return Start(state, first_epoch, origin)


def _checked(
    order: Callable[[int], NDArray[np.integer]], images: int
) -> Callable[[int], NDArray[np.integer]]:
    """Wrap an order of the images in a check that it is a permutation.

    Args:
        order: the order that the user gives.
        images: how many images there are.
    """

    def checked(epoch: int) -> NDArray[np.integer]:
        found = np.asarray(order(epoch))
        if found.shape != (images,) or not np.array_equal(np.sort(found), np.arange(images)):
            raise PerigeeError(
                f"'order' gives for epoch {epoch} no permutation of the numbers from 0 to "
                f"{images - 1} of the training images; each has to be in it once."
            )
        return found.astype(np.int64)

    return checked


def _torch_left_as_it_is() -> ExitStack:
    """A context in which PyTorch may be set up for a run; at its end its settings are restored."""
    stack = ExitStack()
    stack.callback(torch.set_num_threads, torch.get_num_threads())
    for owner, name in (
        (torch.utils.deterministic, "fill_uninitialized_memory"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
    ):
        stack.callback(setattr, owner, name, getattr(owner, name))
    stack.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
    return stack

"""The kernel of a training run: what a step does, in the order it does it.

Everything here can change a number, and everything that can is here or imported from here: saving,
callbacks, measuring and interruption happen elsewhere, at the moments that `Trainer.epoch` yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perigee import registry
from perigee.blocks.optimisers import ProjectedSGD
from perigee.errors import PerigeeError
from perigee.kernel.batch_norm import synchronise
from perigee.kernel.execution import Execution
from perigee.kernel.flat import FlatParameters
from perigee.kernel.graphs import Captured
from perigee.kernel.mixed_precision import compute_in_bfloat16
from perigee.kernel.names import CONSTRAINT, MODEL, OPTIMISER
from perigee.kernel.ranks import Ranks
from perigee.kernel.running_statistics import running_statistics_left_alone
from perigee.kernel.task import Batch, Task
from perigee.spec import RunSpec

if TYPE_CHECKING:  # each task imports the kind of data set that it reads
    from perigee.data.saving import AnyDataset


class Moment(Enum):
    """A moment of an epoch at which others may look at the network, but not touch it."""

    BATCH = auto()
    """A mini-batch was added to the gradient of a step that takes several."""
    GRADIENT = auto()
    """The gradient of a step is complete; the weights are those before it."""
    STEP = auto()
    """The weights were updated."""


@dataclass(frozen=True)
class Start:
    """A state of another run that a run starts from.

    Attributes:
        state: tensors as `Trainer.state` names them.
        epoch: the epoch of data order and augmentation at which the run continues.
        spec: the other run's spec, whose blocks tell what else continues; None if nothing does.
        schedule_epoch: the epoch of the other run's schedule there; it differs from ``epoch`` if
            that run began with a schedule of its own.
    """

    state: Mapping[str, np.ndarray]
    epoch: int
    spec: RunSpec | None
    schedule_epoch: int = 0


class Trainer:
    """One run in progress: network, update rule and task on one device, or on one of several.

    A run that starts from another's checkpoint continues with the data order and augmentation of
    that epoch. Optimiser state, constraint and schedule continue where the block is the parent's
    unchanged, and start afresh where it is another (our choice). So a run that changes nothing
    equals its parent from there on.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        execution: where and how to compute.
        start: where the run starts instead of its initialisation.
        ranks: the processes that share the run.
        epoch_order: the order of the training images in an epoch; None draws it from the seed.

    Attributes:
        first_epoch: the epoch of data order and augmentation at the run's epoch 0.
        first_schedule_epoch: the epoch of the schedule at the run's epoch 0.
        loss: the loss of the step in progress, at the weights before it; a tensor without
            dimensions.
        rate: the learning rate eta of the step in progress; a tensor without dimensions.

    Raises:
        PerigeeError: task, model and data set or mini-batches do not fit together.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: AnyDataset,
        execution: Execution,
        start: Start | None = None,
        ranks: Ranks | None = None,
        epoch_order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.spec = spec
        self.execution = execution
        self.ranks = ranks or Ranks.alone()
        build_task = registry.load(spec.task)
        self.task: Task = build_task(spec, dataset, execution, self.ranks, epoch_order)
        build_model = registry.load(spec.model)
        model = build_model(
            self.task.image_shape, self.task.classes, spec.seed, **spec.model.parameters
        ).to(device=execution.device, dtype=execution.dtype)
        if start is not None:  # in the run's precision: the initialisation's would round them
            _load(model, start.state)
        _require_enough_images(model, self.task, spec.batch_size, execution)
        synchronise(model, self.ranks, execution.device)
        self.model = model
        self.parameters = FlatParameters(self.model, execution.memory_format)
        rule = spec.optimiser.parameters
        rate = rule.pop(spec.optimiser.rate_name)
        self.optimiser = registry.load(spec.optimiser)(self.parameters, **rule)
        self.constraint = registry.load(spec.constraint)(
            self.parameters, **spec.constraint.parameters
        )
        self.schedule = registry.load(spec.schedule)(
            self.task.steps_per_epoch, **spec.schedule.parameters
        )
        self.first_epoch = 0 if start is None else start.epoch
        self.first_schedule_epoch = 0
        if start is not None:
            self._go_on(start)
        if isinstance(spec.optimiser, ProjectedSGD):  # eta = ELR * rho^2
            rate *= float(self.constraint.state["radius"]) ** 2
        self.base_learning_rate: float = rate
        if spec.precision == "bfloat16":  # last, since `torch.fx` has to trace the network before
            compute_in_bfloat16(model, execution.device)
        self.rate = torch.zeros((), device=execution.device, dtype=torch.float64)
        self.loss = torch.zeros((), device=execution.device, dtype=execution.dtype)
        self._before_step: dict[str, Tensor] = {}
        """The state before the step in progress, if that takes several mini-batches."""
        make_graphs = execution.graphs if self.ranks.world == 1 else None
        self._graphs = None if make_graphs is None else make_graphs()
        self._all_captured: list[Captured] = []
        self._add_gradient = self.captured(self._gradient_of_batch)
        self._update = self.captured(self._change_weights)

    def learning_rate(self, epoch: int) -> float:
        """The learning rate eta in the first step of an epoch, counted from 0."""
        return float(self._learning_rates(epoch)[0])

    def epoch(self, epoch: int, taken: int = 0) -> Iterator[Moment]:
        """One pass over the training set, or the rest of one.

        Args:
            epoch: counted from 0, the run's start.
            taken: steps of the epoch that were taken already.

        Yields:
            The moments of each step. A caller that stops iterating leaves the run between two.
        """
        if not taken:
            if self.spec.gradient == "full_batch":
                self._before_step = self.state()
            self.schedule.begin_epoch(
                self.first_schedule_epoch + epoch, self.parameters, self.optimiser
            )
        rates = torch.from_numpy(self._learning_rates(epoch)).to(self.execution.device)
        self.model.train()
        steps = self.task.training_steps(self.first_epoch + epoch, taken)
        for step, batches in enumerate(steps, start=taken):
            self.loss.zero_()
            self.parameters.gradient.zero_()
            for batch in batches:
                self.add_gradient(batch)
                if self._before_step:
                    yield Moment.BATCH
            self._before_step = {}
            self.ranks.sum_(self.parameters.gradient)
            self.ranks.sum_(self.loss)
            self.rate = rates[step]
            yield Moment.GRADIENT
            self.update(self.rate)
            yield Moment.STEP

    @property
    def may_capture(self) -> bool:
        """True if the run captures what it can, and nothing failed to be captured yet."""
        return self._graphs is not None and not any(one.has_failed for one in self._all_captured)

    @property
    def is_captured(self) -> bool:
        """True if steps are captured, which they are from the first one on."""
        return bool(self._add_gradient.shapes and self._update.shapes)

    def captured(self, function: Callable[..., None], *changed: Tensor) -> Captured:
        """Return a function that is captured where the run's device can.

        Processes that share a run exchange numbers within the network, so theirs is not.

        Args:
            function: see `perigee.kernel.graphs.Captured`.
            changed: the tensors that it changes beside those of the run.
        """
        one = Captured(function, self._graphs, lambda: [*self._changed_by_steps(), *changed])
        self._all_captured.append(one)
        return one

    def add_gradient(self, batch: Batch) -> None:
        """Add a mini-batch's share of the step's loss and of its gradient."""
        self._add_gradient(batch.inputs, batch.targets, batch.count, batch.share)

    def update(self, learning_rate: Tensor) -> None:
        """Take the step: the update rule, then the constraint.

        Args:
            learning_rate: eta, a tensor without dimensions.
        """
        self._update(learning_rate)

    def _gradient_of_batch(self, inputs: Tensor, targets: Tensor, count: int, share: float) -> None:
        loss = self.task.loss(self.model(inputs), targets) / count
        if share != 1:
            loss = share * loss
        # (Given a gradient, backward() would import sympy: a tenth of a job's start.)
        loss.backward()
        self.loss.add_(loss.detach())

    def _change_weights(self, learning_rate: Tensor) -> None:
        self.optimiser.step(self.parameters, learning_rate)
        self.constraint.apply(self.parameters)

    def _changed_by_steps(self) -> list[Tensor]:
        """The tensors that steps change in place."""
        vectors = (self.parameters.values, self.parameters.gradient, self.loss)
        return [*vectors, *self.model.buffers(), *(value for _, value in self._states())]

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to continue training, by name.

        These are weights, statistics, and the states of optimiser and constraint. They do not
        depend on the memory layout of the weights, and so not on the device.

        In the middle of a step they are the state before that step, and before the epoch if the
        step is its first.
        """
        if self._before_step:
            return dict(self._before_step)
        found = {MODEL + name: value.detach() for name, value in self.model.state_dict().items()}
        for name, value in self._states():
            found[name] = self.parameters.strict(value) if self._is_vector(value) else value
        return {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in found.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to the state that `state` returned."""
        self.model.load_state_dict(_part(state, MODEL))
        self._restore(state, OPTIMISER, CONSTRAINT)

    def load_network(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the present weights and statistics by those of a state."""
        _load(self.model, state)

    def _learning_rates(self, epoch: int) -> np.ndarray:
        factors: np.ndarray = self.schedule.factors(self.first_schedule_epoch + epoch)
        rates: np.ndarray = self.base_learning_rate * factors
        return rates

    def _go_on(self, start: Start) -> None:
        """Continue what the run has in common with the one that it starts from."""
        if start.spec is None:
            return
        if self.spec.schedule == start.spec.schedule:
            self.first_schedule_epoch = start.schedule_epoch
        given = {name: torch.from_numpy(value) for name, value in start.state.items()}
        if self.spec.optimiser == start.spec.optimiser:
            self._restore(given, OPTIMISER)
        if self.spec.constraint == start.spec.constraint:
            # The weights fulfil it already; projecting them again would change their last bits.
            _load(self.model, start.state)
            self._restore(given, CONSTRAINT)

    def _states(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors of optimiser and constraint, which change in place."""
        for prefix, part in ((OPTIMISER, self.optimiser), (CONSTRAINT, self.constraint)):
            for name, value in part.state.items():
                yield prefix + name, value

    def _restore(self, state: Mapping[str, Tensor], *prefixes: str) -> None:
        for name, value in self._states():
            if not name.startswith(prefixes):
                continue
            if self._is_vector(value):
                self.parameters.copy_strict(value, state[name])
            else:
                value.copy_(state[name])

    def _is_vector(self, value: Tensor) -> bool:
        """Return whether a tensor has a number for every trained parameter."""
        return value.shape == self.parameters.values.shape


def _load(model: torch.nn.Module, state: Mapping[str, np.ndarray]) -> None:
    """Replace a network's tensors by those of another run's network."""
    given = {name: torch.from_numpy(value) for name, value in state.items()}
    model.load_state_dict(model.state_dict() | _part(given, MODEL))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _require_enough_images(
    model: torch.nn.Module, task: Task, batch_size: int, execution: Execution
) -> None:
    """Refuse a last mini-batch of one image if it gives BatchNorm only one value per channel.

    Raises:
        PerigeeError: the network cannot normalise the last mini-batch.
    """
    images = task.sizes["train"]
    if (images - 1) % batch_size:
        return
    model.train()
    image = torch.zeros((1, *task.image_shape), device=execution.device, dtype=execution.dtype)
    try:
        with torch.no_grad(), running_statistics_left_alone(model):
            model(image)
    except ValueError as error:
        raise PerigeeError(
            f"Key 'batch_size' is {batch_size}, so that of {images} training images the last "
            "mini-batch has one, too few for BatchNorm in this network; choose another."
        ) from error

"""The training loop: what a run does, in the order it does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from perigee import registry
from perigee.data import order
from perigee.data.arrays import ArrayDataset
from perigee.data.device import DeviceDataset
from perigee.dynamics import sphere
from perigee.spec import RunSpec
from perigee.training.execution import Execution
from perigee.training.flat import FlatParameters
from perigee.training.metrics import require_enough_images, test_metrics, train_metrics
from perigee.training.record import STEP_QUANTITIES, RunRecord

OPTIMISER_STATE = "optimiser."
MODEL_STATE = "model."


class Trainer:
    """One run in progress: network, update rule and data on one device.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        execution: where and how to compute.
        start: parameters and BatchNorm statistics by name that the run starts with instead of the
            initialisation's; the optimiser starts afresh (our choice).

    Raises:
        PerigeeError: model and data set or mini-batches do not fit together.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: ArrayDataset,
        execution: Execution,
        start: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.spec = spec
        self.execution = execution
        self.data = DeviceDataset.load(
            dataset, execution.device, execution.dtype, execution.memory_format
        )
        build_model = registry.load("model", spec.model)
        model = build_model(
            dataset.image_shape, dataset.classes, spec.seed, **spec.model.parameters
        )
        self.model = model.to(device=execution.device, dtype=execution.dtype)
        if start is not None:  # in the run's precision: the initialisation's would round them
            given = {name: torch.from_numpy(value) for name, value in start.items()}
            self.model.load_state_dict(self.model.state_dict() | given)
        require_enough_images(self.model, self.data.train, spec.batch_size)
        self.parameters = FlatParameters(self.model)
        rule = dict(spec.optimiser.parameters)
        self.base_learning_rate = rule.pop("learning_rate")
        self.optimiser = registry.load("optimiser", spec.optimiser)(self.parameters.values, **rule)
        self.schedule = registry.load("schedule", spec.schedule)
        self.loss: Callable[[Tensor, Tensor], Tensor] = partial(
            registry.load("loss", spec.loss), **spec.loss.parameters
        )
        self.augmentation: Callable[..., Callable[[Tensor, int], Tensor]] = partial(
            registry.load("augmentation", spec.augmentation), **spec.augmentation.parameters
        )
        self.project: Callable[[Tensor], None] = registry.load("norm_control", spec.norm_control)(
            self.parameters.weights, **spec.norm_control.parameters
        )
        self._before_step: dict[str, Tensor] = {}
        """BatchNorm's statistics before a step that is being made of several mini-batches."""

    @property
    def steps_per_epoch(self) -> int:
        """Updates of the weights in an epoch."""
        return order.steps_per_epoch(len(self.data.train), self.spec.batch_size, self.spec.gradient)

    def learning_rate(self, epoch: int) -> float:
        """Eta in an epoch counted from 0."""
        factor = self.schedule(epoch, **self.spec.schedule.parameters)
        return float(self.base_learning_rate * factor)

    def train_epoch(
        self,
        epoch: int,
        done: np.ndarray | None = None,
        after_step: Callable[[Tensor], None] = lambda rows: None,
        within_step: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """One pass over the training set, or the rest of one.

        Args:
            epoch: counted from 0; settles the order of the data and the learning rate.
            done: rows of the epoch's first steps, if those were taken already.
            after_step: called after every step with the rows so far; what it raises ends the pass.
            within_step: called after every mini-batch of a full batch; so does what it raises. The
                state is then that before the step.

        Returns:
            A row a step, columns `STEP_QUANTITIES`, (steps, 4).
        """
        learning_rate = self.learning_rate(epoch)
        parameters = self.parameters
        logged = torch.zeros(
            (self.steps_per_epoch, len(STEP_QUANTITIES)),
            device=self.execution.device,
            dtype=self.execution.dtype,
        )
        first = 0 if done is None else len(done)
        if done is not None:
            logged[:first] = torch.from_numpy(done)
        self.model.train()
        for step, batches in enumerate(self._batches_by_step(epoch, first), start=first):
            row = logged[step]
            parameters.gradient.zero_()
            if self.spec.gradient == "full_batch":
                self._before_step = {n: b.clone() for n, b in self.model.named_buffers()}
            for images, labels, share in batches:
                loss = self.loss(self.model(images), labels)
                # (Given a gradient, backward() would import sympy: a tenth of a job's start.)
                (share * loss).backward()
                row[0].add_(loss.detach(), alpha=share)
                if self._before_step:
                    within_step()
            self._before_step = {}
            before = parameters.weights.clone()
            self.optimiser.step(parameters.values, parameters.gradient, learning_rate)
            self.project(parameters.weights)
            row[1] = torch.linalg.vector_norm(parameters.weights_gradient)
            row[2] = torch.linalg.vector_norm(before)
            row[3] = sphere.cosine_distance(before, parameters.weights)
            after_step(logged[: step + 1])
        return logged.cpu().numpy()

    def _batches_by_step(
        self, epoch: int, taken: int
    ) -> Iterator[Iterable[tuple[Tensor, Tensor, float]]]:
        """Of each step of an epoch but the first ``taken`` the mini-batches, with their shares.

        A mini-batch is images, augmented, labels, and what its mean loss contributes to the step's.
        """
        train, size, seed = self.data.train, self.spec.batch_size, self.spec.seed
        augment = self.augmentation(len(train), seed, epoch, self.data.black)
        if self.spec.gradient == "full_batch":
            if not taken:
                yield (
                    (augment(images, number * size), labels, len(labels) / len(train))
                    for number, (images, labels) in enumerate(train.batches(size))
                )
            return
        batches = train.shuffled_batches(size, seed, epoch, skipped=taken)
        for number, (images, labels) in enumerate(batches, start=taken):
            yield [(augment(images, number * size), labels, 1.0)]

    def metrics(
        self, epochs_done: int, between_batches: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """A row of metrics.parquet at the present weights, which stay fixed.

        Args:
            epochs_done: the row's epoch.
            between_batches: called after every mini-batch; what it raises ends the measuring.
        """
        train = train_metrics(
            self.model,
            self.parameters,
            self.loss,
            self.data.train,
            self.spec.batch_size,
            between_batches,
        )
        test = test_metrics(self.model, self.data.test)
        # NumPy's float, for which a division by a norm of 0 is a result and not an error.
        weight_norm = np.float64(torch.linalg.vector_norm(self.parameters.weights).item())
        learning_rate = self.learning_rate(epochs_done)
        with np.errstate(all="ignore"):
            effective_learning_rate = sphere.effective_learning_rate(learning_rate, weight_norm)
            effective_gradient_norm = sphere.effective_gradient_norm(
                train.gradient_norm, weight_norm
            )
            effective_step_size = sphere.effective_step_size(
                learning_rate, train.gradient_norm, weight_norm
            )
        return {
            "epoch": epochs_done,
            "train_loss": train.loss,
            "train_error": train.error,
            "gradient_norm": train.gradient_norm,
            "test_loss": test.loss,
            "test_error": test.error,
            "weight_norm": float(weight_norm),
            "learning_rate": learning_rate,
            "effective_learning_rate": float(effective_learning_rate),
            "effective_gradient_norm": float(effective_gradient_norm),
            "effective_step_size": float(effective_step_size),
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that training on needs: weights, BatchNorm statistics, optimiser state."""
        whole = self.model.state_dict() | self._before_step
        model = {MODEL_STATE + name: value for name, value in whole.items()}
        optimiser = {OPTIMISER_STATE + name: v for name, v in self.optimiser.state.items()}
        return {name: value.detach().cpu().clone() for name, value in (model | optimiser).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self.model.load_state_dict(
            {
                name.removeprefix(MODEL_STATE): value
                for name, value in state.items()
                if name.startswith(MODEL_STATE)
            }
        )
        for name, value in self.optimiser.state.items():
            value.copy_(state[OPTIMISER_STATE + name])


class Watch:
    """What is told of a run's course; this one looks on. What a method raises ends the training."""

    def after_step(self, record: RunRecord, rows: Tensor) -> None:
        """A step was taken; ``rows`` are those of the epoch so far, of which record has none."""

    def within_step(self, record: RunRecord) -> None:
        """In the middle of a step of several mini-batches, which would be made again from there."""

    def while_measuring(self, record: RunRecord) -> None:
        """In the middle of measuring; the rows of a finished epoch are in ``record.unfinished``."""

    def after_epoch(self, record: RunRecord) -> None:
        """The initial metrics, or an epoch with its metrics, have been added to the record."""


def train(trainer: Trainer, epochs: int, record: RunRecord, watch: Watch | None = None) -> None:
    """Train until ``record`` holds ``epochs`` epochs or the loss stops being finite.

    Args:
        trainer: at the state that ``record`` ends with, the steps of an unfinished epoch included.
        epochs: in all, those already in the record included.
        record: grows in place.
        watch: is told of every step and epoch.
    """
    watch = watch or Watch()
    if not record.metrics:
        record.metrics.append(trainer.metrics(0, lambda: watch.while_measuring(record)))
        watch.after_epoch(record)
    while record.epochs < epochs and record.stopped_at_step is None:
        record.unfinished = trainer.train_epoch(
            record.epochs,
            record.unfinished,
            lambda rows: watch.after_step(record, rows),
            lambda: watch.within_step(record),
        )
        metrics = trainer.metrics(record.epochs + 1, lambda: watch.while_measuring(record))
        record.finish_epoch(metrics)
        watch.after_epoch(record)

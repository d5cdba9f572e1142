"""The specification of training runs and of claims: plain data, importable without torch.

A `RunSpec` holds everything that can change a run's numbers and nothing else: its length and its
measures are not part of it (docs/store.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, InstanceOf, TypeAdapter, model_validator

from perigee import registry
from perigee.blocks.augmentations import Augmentation, NoAugmentation
from perigee.blocks.base import Block, Count, Seed, without_defaults
from perigee.blocks.constraints import Constraint, Unconstrained
from perigee.blocks.datasets import Dataset
from perigee.blocks.forks import Fork
from perigee.blocks.losses import CrossEntropy, Loss
from perigee.blocks.models import Network
from perigee.blocks.optimisers import SGD, ProjectedSGD, UpdateRule
from perigee.blocks.quantities import Quantity
from perigee.blocks.schedules import Constant, RescaledSteps, Schedule
from perigee.blocks.tasks import Classification, Task
from perigee.errors import PerigeeError

BLOCK_FIELDS = (
    "dataset",
    "task",
    "model",
    "optimiser",
    "schedule",
    "constraint",
    "loss",
    "augmentation",
)
"""The fields of a `RunSpec` that name a registered block of that kind."""


class RunSpec(BaseModel):
    """One resolved training run.

    Attributes:
        dataset: the images and labels.
        model: the network, scale-invariant or standard.
        optimiser: the update rule with learning rate and weight decay.
        task: how batches are made of the data set, and what is evaluated.
        schedule: the learning-rate schedule.
        constraint: whether the norm of the scale-invariant weights is fixed.
        loss: the loss that training minimises; the metrics' train loss is the same.
        augmentation: how training images are changed at random; measures see them unchanged.
        gradient: "mini_batch", an update for each of them, in an order drawn for every epoch; or
            "full_batch", one update an epoch, by the mean loss over the training set. BatchNorm
            still uses the statistics of each mini-batch; these are taken in stored order (our
            choice), so that it is the gradient of one fixed function.
        batch_size: images in a mini-batch; the last, smaller one of an epoch is kept.
        seed: the seed of the initialisation and of the data order.
        precision: "float32" (strict), "tf32" (float32 with convolutions in TF32, PyTorch's own
            default on GPUs), "bfloat16" (activations in bfloat16, weights and update in float32)
            or "float64".
        parent: the run whose checkpoint this one starts from; None starts at the initialisation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: InstanceOf[Dataset]
    model: InstanceOf[Network]
    optimiser: InstanceOf[UpdateRule]
    batch_size: Count
    seed: Seed
    task: InstanceOf[Task] = Classification()
    schedule: InstanceOf[Schedule] = Constant()
    constraint: InstanceOf[Constraint] = Unconstrained()
    loss: InstanceOf[Loss] = CrossEntropy()
    augmentation: InstanceOf[Augmentation] = NoAugmentation()
    gradient: Literal["mini_batch", "full_batch"] = "mini_batch"
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"
    parent: Parent | None = None

    @model_validator(mode="after")
    def _blocks_fit_the_data(self) -> Self:
        """Refuse a task or an augmentation that cannot work on data sets of this kind.

        Raises:
            PerigeeError: one of them does not fit; the message names those that do.
        """
        stored = self.dataset.stored_as
        for key, kind in (("task", Task), ("augmentation", Augmentation)):
            block = getattr(self, key)
            if stored in block.fits:
                continue
            known = registry.REGISTRY[kind.kind].values()
            fitting = [one.name for one in known if issubclass(one, kind) and stored in one.fits]
            raise PerigeeError(
                f"Key '{key}.name' is '{block.name}', which does not work on data set "
                f"'{self.dataset.name}', whose images are kept as {stored}; choose "
                f"{' or '.join(fitting)}."
            )
        return self

    @model_validator(mode="after")
    def _network_fits_the_task(self) -> Self:
        """Refuse a network that detects objects in another task, and the reverse.

        Raises:
            PerigeeError: they do not fit; the message names the networks that do.
        """
        if self.model.detects == self.task.detects:
            return self
        known = registry.REGISTRY[Network.kind].values()
        fitting = [
            one.name
            for one in known
            if issubclass(one, Network) and one.detects == self.task.detects
        ]
        raise PerigeeError(
            f"Key 'model.name' is '{self.model.name}', which does not fit task "
            f"'{self.task.name}'; choose {' or '.join(fitting)}, or another task."
        )

    @model_validator(mode="after")
    def _projected_on_a_sphere(self) -> Self:
        """Refuse training by an effective learning rate where the norm is free.

        Raises:
            PerigeeError: the constraint fixes no norm; the message names those that do.
        """
        if isinstance(self.optimiser, ProjectedSGD) and not self.constraint.is_sphere:
            known = registry.REGISTRY[Constraint.kind].values()
            spheres = [one.name for one in known if issubclass(one, Constraint) and one.is_sphere]
            raise PerigeeError(
                f"Key 'optimiser.name' is '{self.optimiser.name}', which trains on a sphere; set "
                f"constraint.name to {' or '.join(spheres)}."
            )
        return self

    @model_validator(mode="after")
    def _rescaled_by_the_theorems(self) -> Self:
        """Refuse rescaling at a decay where norms have no equilibrium, or another one.

        Raises:
            PerigeeError: the constraint fixes the norm, or the update rule is not SGD.
        """
        if not isinstance(self.schedule, RescaledSteps):
            return self
        key = f"Key 'schedule.name' is '{self.schedule.name}'"
        if self.constraint.is_sphere:
            raise PerigeeError(
                f"{key}, which rescales weights, but constraint '{self.constraint.name}' fixes "
                "their norm; leave out one of them."
            )
        if not isinstance(self.optimiser, SGD):
            raise PerigeeError(
                f"{key}, which rescales weights as SGD needs it, but key 'optimiser.name' is "
                f"'{self.optimiser.name}'; choose 'sgd', or schedule 'steps'."
            )
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Make a spec from the output of `to_dict`; defaults may also be written out."""
        blocks = {
            kind: registry.make(kind, values[kind]) for kind in BLOCK_FIELDS if kind in values
        }
        parent = values.get("parent")
        return cls(
            **{**values, **blocks, "parent": None if parent is None else Parent.from_dict(parent)}
        )

    @property
    def blocks(self) -> dict[str, Block]:
        """The blocks by kind."""
        return {kind: getattr(self, kind) for kind in BLOCK_FIELDS}

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical form: nested JSON values, without those equal to their defaults."""
        plain = without_defaults(self)
        return plain if self.parent is None else {**plain, "parent": self.parent.to_dict()}

    def full_dict(self) -> dict[str, Any]:
        """Return all values in effect, as nested JSON values, without a parent if there is none."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        plain = {k: v.full_dict() if isinstance(v, Block) else v for k, v in values.items()}
        del plain["parent"]
        return plain if self.parent is None else {**plain, "parent": self.parent.full_dict()}


@dataclass(frozen=True)
class Parent:
    """The run and the epoch that a forked run starts from.

    Attributes:
        run: the parent.
        epochs: how many of its epochs are trained before the fork is resolved.
        at: the rule that finds the checkpoint's epoch from the parent's measures.
    """

    run: RunSpec
    epochs: int
    at: Fork

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parent:
        """The inverse of `to_dict`."""
        at: Fork = registry.make("fork", values["at"])
        epochs = TypeAdapter(Count).validate_python(values["epochs"])
        return cls(RunSpec.from_dict(values["run"]), epochs, at)

    def to_dict(self) -> dict[str, Any]:
        """The canonical form."""
        return {"run": self.run.to_dict(), "epochs": self.epochs, "at": self.at.to_dict()}

    def full_dict(self) -> dict[str, Any]:
        """All values in effect."""
        return {"run": self.run.full_dict(), "epochs": self.epochs, "at": self.at.full_dict()}


RunSpec.model_rebuild()


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A number of a table, and the relation that it is expected to have to a bound.

    Attributes:
        table: name of the figure's table that the quantity is measured on.
        quantity: the quantity that is measured.
        within_seed: the statistic by which the rows of one seed become one number; None for a
            quantity that gives one itself.
        relation: "at_least", "at_most", "greater_than", "less_than", "equal_to" or
            "different_from".
        bound: the number that the measured value is compared with.
    """

    table: str
    quantity: Quantity
    relation: str
    bound: float
    within_seed: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{**values, "quantity": registry.make("quantity", values["quantity"])})

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "quantity": self.quantity.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Claim(Expectation):
    """A statement of a paper about a figure, as a rule.

    Attributes:
        name: unique in its figure.
        kind: "rate", "mean", "equivalent", "different", "trend" or "identity", by which it is
            judged.
        unit: what is counted within a seed, such as "destabilisation".
        testable: whether the claim can be tested at the current scale.
        margin: of the kinds "equivalent" and "different", the distance from the bound, or the
            factor of a ratio, that still counts as equal.
        pooled: whether a ratio is one of sums over seeds.
        draws: the column that tells independent draws apart.
        shared: the column of what all draws share, such as test images, which is resampled, too.
        given: the premise, without which a seed does not count.
        says: the statement, in our words; not needed for the verdict.
        source: the place in the paper; not needed for the verdict.
        seen: seeds that were in view when the rule was set; not needed for the verdict.
        locked: when the rule was locked; not needed for the verdict.
    """

    name: str
    kind: str
    unit: str
    testable: bool
    margin: float | None = None
    pooled: bool = False
    draws: str = "seed"
    shared: str | None = None
    given: Expectation | None = None
    says: str = ""
    source: str = ""
    seen: str = ""
    locked: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        given = values.get("given")
        premise = None if given is None else Expectation.from_dict(given)
        return super().from_dict({**values, "given": premise})

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON values."""
        return {**super().to_dict(), "given": self.given and self.given.to_dict()}

    @property
    def rule(self) -> dict[str, Any]:
        """The part that decides the verdict: everything but the prose."""
        return {key: value for key, value in self.to_dict().items() if key not in PROSE}

    @property
    def prose(self) -> dict[str, str]:
        """The part that does not decide the verdict, and is shown with it."""
        return {key: getattr(self, key) for key in PROSE}


PROSE = ("says", "source", "seen", "locked")
"""The fields of a claim that decide nothing."""

"""What determines a training run: plain data, importable without torch.

A `RunSpec` holds everything that can change a run's numbers and nothing else: how long the run
goes on and what is kept of it are not part of it (design: identity of a run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Component:
    """A registered building block (data set, model, optimiser, ...) with all its parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Component:
        """Split ``{"name": ..., parameter: value, ...}`` into name and parameters."""
        return cls(values["name"], {key: value for key, value in values.items() if key != "name"})

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {"name": self.name, **self.parameters}


COMPONENT_FIELDS = (
    "dataset",
    "model",
    "optimiser",
    "schedule",
    "norm_control",
    "loss",
    "augmentation",
)
"""The fields of a `RunSpec` that name a registered component."""


@dataclass(frozen=True)
class RunSpec:
    """One resolved training run.

    Attributes:
        dataset: the images and labels.
        model: the network, scale-invariant or standard.
        optimiser: the update rule with learning rate and weight decay.
        schedule: the learning rate's course over the epochs, with its horizon where it has one.
        norm_control: whether the norm of the scale-invariant weights is free or held.
        loss: what training minimises, and what the train loss of a metric is.
        augmentation: how training images are changed at random; metrics see them unchanged.
        gradient: "mini_batch", an update for each of them, in an order drawn for every epoch; or
            "full_batch", one update an epoch, by the mean loss over the training set. BatchNorm
            still uses the statistics of each mini-batch; these are taken in stored order (our
            choice), so that it is the gradient of one fixed function.
        batch_size: images in a mini-batch; the last, smaller one of an epoch is kept.
        seed: of the initialisation and of the order of the data.
        precision: "float32" (strict), "tf32" (float32 with TF32 matrix units) or "float64".
        parent: the run whose checkpoint this one starts from; None starts at the initialisation.
    """

    dataset: Component
    model: Component
    optimiser: Component
    schedule: Component
    norm_control: Component
    loss: Component
    augmentation: Component
    gradient: str
    batch_size: int
    seed: int
    precision: str
    parent: Parent | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Build the spec from its plain form (the form that digests are taken of)."""
        components = {key: Component.from_dict(values[key]) for key in COMPONENT_FIELDS}
        return cls(
            **components,
            gradient=values["gradient"],
            batch_size=values["batch_size"],
            seed=values["seed"],
            precision=values["precision"],
            parent=Parent.from_dict(values["parent"]) if values.get("parent") else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The plain form: nested dictionaries of JSON values."""
        plain = {**vars(self), **{key: getattr(self, key).to_dict() for key in COMPONENT_FIELDS}}
        del plain["parent"]
        return plain if self.parent is None else plain | {"parent": self.parent.to_dict()}


@dataclass(frozen=True)
class Parent:
    """Where a forked run starts from.

    Attributes:
        run: the parent.
        epochs: how many of its epochs are trained before the fork is resolved.
        at: the rule that finds the epoch of the checkpoint, on the parent's measured course.
    """

    run: RunSpec
    epochs: int
    at: Component

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parent:
        """The inverse of `to_dict`."""
        return cls(
            RunSpec.from_dict(values["run"]), values["epochs"], Component.from_dict(values["at"])
        )

    def to_dict(self) -> dict[str, Any]:
        """The plain form."""
        return {"run": self.run.to_dict(), "epochs": self.epochs, "at": self.at.to_dict()}


@dataclass(frozen=True)
class Claim:
    """What a paper says of a figure, as a rule.

    Attributes:
        name: unique in its figure.
        says: what the paper says, in our words.
        source: the place in the paper.
        table: name of the figure's table that the quantity is measured on.
        quantity: what is measured.
        relation: "at_least", "at_most", "greater_than", "less_than" or "equal_to".
        bound: what the measured value has to be at least, at most, ...
        testable: whether the claim can be tested at the scale at hand.
    """

    name: str
    says: str
    source: str
    table: str
    quantity: Component
    relation: str
    bound: float
    testable: bool

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Claim:
        """The inverse of `to_dict`."""
        return cls(**{**values, "quantity": Component.from_dict(values["quantity"])})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "quantity": self.quantity.to_dict()}

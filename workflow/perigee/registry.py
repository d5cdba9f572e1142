"""Every building block that a configuration may name: one line each.

A line says where the block's code is and which parameters it takes, as JSON-schema fragments with
their defaults. The code is imported only when a run needs it, so this module is importable
without torch, and a run's code digest covers only the blocks its own spec names. To add a block,
write its module and add its line.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perigee.spec import Component

Schema = dict[str, Any]

REQUIRED = object()


def number(default: Any = REQUIRED, **limits: float) -> Schema:
    """A finite number within JSON-schema limits such as ``minimum`` or ``exclusiveMinimum``."""
    return _parameter({"type": "number", **limits}, default)


def integer(default: Any = REQUIRED, **limits: float) -> Schema:
    """A whole number within limits."""
    return _parameter({"type": "integer", **limits}, default)


def boolean(default: Any = REQUIRED) -> Schema:
    """True or false."""
    return _parameter({"type": "boolean"}, default)


def text(default: Any = REQUIRED) -> Schema:
    """A text."""
    return _parameter({"type": "string"}, default)


def choice(*values: str, default: Any = REQUIRED) -> Schema:
    """One of several texts."""
    return _parameter({"enum": list(values)}, default)


def mapping(default: Any = REQUIRED) -> Schema:
    """A mapping of any names to texts, numbers, or true and false."""
    values = {"type": ["number", "string", "boolean"]}
    return _parameter({"type": "object", "additionalProperties": values}, default)


def optional(schema: Schema) -> Schema:
    """The same, or null, which is the default."""
    return _parameter({**schema, "type": [schema["type"], "null"]}, None)


def several(item: Schema, length: int | None = None) -> Schema:
    """A list of at least one value, or of exactly ``length``."""
    limits = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
    return {"type": "array", "items": item, **limits}


def _parameter(schema: Schema, default: Any) -> Schema:
    return schema if default is REQUIRED else {**schema, "default": default}


@dataclass(frozen=True)
class Registration:
    """A line of the registry.

    Attributes:
        target: where the block's code is, "module:attribute".
        parameters: the schema of each of its parameters.
        reads_runs: of an analysis: whether it needs runs; the others compute from a formula. Of a
            quantity: whether it is one of runs, so that its table has to be made from some.
        reads_checkpoints: of an analysis that reads runs: whether it also needs their checkpoints
            and the predictions of these, to compare each run with one of another seed.
        finds_periods: of a quantity: whether it finds destabilisations itself, by the train loss.
        train_images: of a data set: how many training images it has, for estimates.
    """

    target: str
    parameters: Mapping[str, Schema]
    reads_runs: bool = False
    reads_checkpoints: bool = False
    finds_periods: bool = False
    train_images: int = 0

    @property
    def module(self) -> str:
        """The module that holds the code."""
        return self.target.partition(":")[0]


def _block(target: str, **parameters: Schema) -> Registration:
    return Registration(f"perigee.{target}", parameters)


def _dataset(target: str, train_images: int) -> Registration:
    return Registration(f"perigee.{target}", {}, train_images=train_images)


def _reading_runs(target: str, **parameters: Schema) -> Registration:
    return Registration(f"perigee.{target}", parameters, reads_runs=True)


def _reading_checkpoints(target: str, **parameters: Schema) -> Registration:
    return Registration(f"perigee.{target}", parameters, reads_runs=True, reads_checkpoints=True)


def _of_periods(target: str, **parameters: Schema) -> Registration:
    return Registration(f"perigee.{target}", parameters, reads_runs=True, finds_periods=True)


_of_runs = _reading_runs

POSITIVE = {"exclusiveMinimum": 0}
NOT_NEGATIVE = {"minimum": 0}
RATE = number(**POSITIVE)
RATES = several(RATE)
NEAR_ZERO = choice("train_loss", "train_error", default="train_loss")

REGISTRY: dict[str, dict[str, Registration]] = {
    "dataset": {
        "cifar10": _dataset("data.cifar:build_cifar10", train_images=50000),
        "cifar100": _dataset("data.cifar:build_cifar100", train_images=50000),
        "digit_pairs": _dataset("data.digit_pairs:build", train_images=2000),
        "digits": _dataset("data.digits:build", train_images=1437),
    },
    "model": {
        "convnet": _block(
            "models.convnet:build",
            width=integer(minimum=1),
            scale_invariant=boolean(),
            head_norm=number(10.0, **POSITIVE),
        ),
        "resnet18": _block(
            "models.resnet18:build",
            width=integer(minimum=1),
            scale_invariant=boolean(),
            head_norm=number(10.0, **POSITIVE),
        ),
    },
    "optimiser": {
        "adam": _block(
            "training.optimisers.adam:Adam",
            learning_rate=number(**POSITIVE),
            weight_decay=number(0.0, **NOT_NEGATIVE),
            beta_1=number(0.9, minimum=0, exclusiveMaximum=1),
            beta_2=number(0.999, minimum=0, exclusiveMaximum=1),
        ),
        "sgd": _block(
            "training.optimisers.sgd:SGD",
            learning_rate=number(**POSITIVE),
            weight_decay=number(0.0, **NOT_NEGATIVE),
            momentum=number(0.0, minimum=0, exclusiveMaximum=1),
        ),
    },
    "schedule": {
        "constant": _block("training.schedules.constant:factor"),
        "cosine": _block("training.schedules.cosine:factor", horizon=integer(minimum=1)),
        "steps": _block(
            "training.schedules.steps:factor",
            milestones=several(integer(minimum=1)),
            decay=number(**POSITIVE),
        ),
    },
    "norm_control": {
        "free": _block("training.norm_control.free:build"),
        "fixed": _block("training.norm_control.fixed:build", norm=optional(number(**POSITIVE))),
    },
    "loss": {
        "cross_entropy": _block(
            "training.losses.cross_entropy:cross_entropy",
            label_smoothing=number(0.0, minimum=0, exclusiveMaximum=1),
        ),
    },
    "augmentation": {
        "crop_and_flip": _block(
            "data.augmentations.crop_and_flip:of_epoch",
            padding=integer(minimum=0),
            flip=boolean(),
        ),
        "none": _block("data.augmentations.none:of_epoch"),
    },
    "analysis": {
        "one_period": _reading_runs(
            "analysis.one_period:tabulate", smoothing_epochs=integer(minimum=1)
        ),
        "period_statistics": _reading_runs(
            "analysis.period_statistics:tabulate", near_zero=NEAR_ZERO
        ),
        "run_metrics": _reading_runs("analysis.run_metrics:tabulate"),
        "scale_invariant_steps": _block(
            "analysis.scale_invariant_steps:tabulate",
            learning_rate=number(**POSITIVE),
            weight_decay=number(**NOT_NEGATIVE),
            start=several(number(), length=2),
            steps=integer(minimum=1),
        ),
        "similarity": _reading_checkpoints("analysis.similarity:tabulate", near_zero=NEAR_ZERO),
        "toy_convergence": _block(
            "analysis.toy_convergence:tabulate",
            coefficients=several(number(**POSITIVE)),
            effective_learning_rates=several(number(**POSITIVE)),
            starts=integer(minimum=1),
            iterations=integer(minimum=1),
            converged_below=number(**POSITIVE),
            seed=integer(minimum=0),
        ),
        "toy_gradient_identities": _block(
            "analysis.toy_gradient_identities:tabulate",
            points=integer(minimum=1),
            factors=several(number(**POSITIVE)),
            seed=integer(minimum=0),
        ),
        "toy_group_identities": _block(
            "analysis.toy_group_identities:tabulate",
            coefficients=several(number(**POSITIVE)),
            effective_learning_rates=several(number(**POSITIVE)),
            iterations=integer(minimum=1),
            seed=integer(minimum=0),
        ),
        "toy_regimes": _block(
            "analysis.toy_regimes:tabulate",
            coefficients=several(number(**POSITIVE)),
            effective_learning_rates=several(number(**POSITIVE)),
            iterations=integer(minimum=1),
            seed=integer(minimum=0),
        ),
        "toy_stabilisation": _block(
            "analysis.toy_stabilisation:tabulate",
            coefficients=several(number(**POSITIVE)),
            rates_times_coefficient=several(number(**POSITIVE)),
            iterations=integer(minimum=1),
            seed=integer(minimum=0),
        ),
    },
    "fork": {
        "at_epoch": _block("analysis.forks:at_epoch", epoch=integer(minimum=0)),
        "before_destabilisation": _block(
            "analysis.forks:before_destabilisation",
            epochs=integer(minimum=0),
            number=integer(1, minimum=1),
        ),
    },
    "quantity": {
        "column_ratio": _block(
            "claims.columns:column_ratio",
            column=text(),
            statistic=choice("first", "last", "minimum", "maximum", "mean", "median"),
            over=mapping(),
            under=mapping(),
        ),
        "column_statistic": _block(
            "claims.columns:column_statistic",
            column=text(),
            statistic=choice("first", "last", "minimum", "maximum", "mean", "median"),
            where=mapping({}),
            last_fraction=number(1.0, exclusiveMinimum=0, maximum=1),
        ),
        "destabilisation_count": _of_periods(
            "claims.destabilisations:count",
            learning_rates=RATES,
            statistic=choice("minimum", "maximum"),
        ),
        "destabilisation_count_ratio": _of_periods(
            "claims.destabilisations:count_ratio", higher=RATE, lower=RATE
        ),
        "destabilisation_norm_ratio": _of_periods(
            "claims.destabilisations:norm_ratio", higher=RATE, lower=RATE
        ),
        "warm_up_ratio": _of_periods(
            "claims.destabilisations:warm_up_ratio", higher=RATE, lower=RATE
        ),
        "warm_up_test_error_ratio": _of_periods(
            "claims.destabilisations:warm_up_test_error_ratio", learning_rates=RATES
        ),
        "settled_fraction": _of_runs(
            "claims.theory:settled_fraction", learning_rates=RATES, weight_decay=RATE
        ),
        "norm_prediction_error": _of_runs("claims.theory:norm_prediction_error", weight_decay=RATE),
        "jump_condition_error": _of_runs("claims.theory:jump_condition_error"),
        "jump_delay": _of_runs("claims.theory:jump_delay", weight_decay=RATE),
        "norm_onset_after_loss_onset": _of_runs("claims.phases:norm_onset_after_loss_onset"),
        "growth_late_in_phase_b": _of_runs("claims.phases:growth_late_in_phase_b", column=text()),
        "ensemble_gain_share": _of_runs(
            "claims.similarity:ensemble_gain_share", period=choice("anchor", "last")
        ),
        "similarity_excess": _of_runs(
            "claims.similarity:similarity_excess", period=integer(minimum=0)
        ),
        "similarity_in_last_period": _of_runs("claims.similarity:similarity_in_last_period"),
        "similarity_trend": _of_runs("claims.similarity:similarity_trend"),
        "similarity_within_period": _of_runs("claims.similarity:similarity_within_period"),
    },
}


def registration(kind: str, component: Component) -> Registration:
    """The line of a block that a validated spec names."""
    return REGISTRY[kind][component.name]


def load(kind: str, component: Component) -> Any:
    """Import the code of a block."""
    module, _, attribute = registration(kind, component).target.partition(":")
    return getattr(importlib.import_module(module), attribute)

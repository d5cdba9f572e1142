"""Every building block that a configuration may name: one line each.

A block's configuration class says which parameters it takes and where its code is. The code is
imported only when it is needed, so planning needs no torch, and a run's code digest covers only the
blocks that its own spec names. To add a block, write its module and its class, and add its line.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from perigee.blocks import (
    analyses,
    augmentations,
    constraints,
    datasets,
    evaluations,
    forks,
    losses,
    measures,
    models,
    optimisers,
    quantities,
    schedules,
    tasks,
)
from perigee.blocks.base import Block

BLOCKS: tuple[type[Block], ...] = (
    analyses.OnePeriod,
    analyses.PeriodStatistics,
    analyses.RunMetrics,
    analyses.ScaleInvariantSteps,
    analyses.Similarity,
    analyses.ToyConvergence,
    analyses.ToyGradientIdentities,
    analyses.ToyGroupIdentities,
    analyses.ToyRegimes,
    analyses.ToyStabilisation,
    augmentations.CropAndFlip,
    augmentations.NoAugmentation,
    augmentations.ResizedCropAndFlip,
    constraints.FixedNorm,
    constraints.Unconstrained,
    datasets.Cifar10,
    datasets.Cifar100,
    datasets.DigitPairs,
    datasets.Digits,
    datasets.ImageFolder,
    evaluations.Predictions,
    forks.AtEpoch,
    forks.BeforeDestabilisation,
    losses.CrossEntropy,
    measures.Checkpoints,
    measures.FullGradientNorm,
    measures.Layers,
    measures.Metrics,
    measures.Steps,
    models.ConvNet,
    models.ResNet18,
    optimisers.Adam,
    optimisers.SGD,
    quantities.ColumnRatio,
    quantities.ColumnStatistic,
    quantities.DestabilisationCount,
    quantities.DestabilisationCountRatio,
    quantities.DestabilisationNormRatio,
    quantities.EnsembleGainShare,
    quantities.GrowthLateInPhaseB,
    quantities.JumpConditionError,
    quantities.JumpDelay,
    quantities.NormOnsetAfterLossOnset,
    quantities.NormPredictionError,
    quantities.SettledFraction,
    quantities.SimilarityExcess,
    quantities.SimilarityInLastPeriod,
    quantities.SimilarityTrend,
    quantities.SimilarityWithinPeriod,
    quantities.WarmUpRatio,
    quantities.WarmUpTestErrorRatio,
    schedules.Constant,
    schedules.Cosine,
    schedules.Steps,
    tasks.Classification,
    tasks.StreamedClassification,
)

REGISTRY: dict[str, dict[str, type[Block]]] = {}
"""Kind -> name -> configuration class."""

for block_class in BLOCKS:
    REGISTRY.setdefault(block_class.kind, {})[block_class.name] = block_class


def make(kind: str, value: Mapping[str, Any]) -> Block:
    """The block that ``{"name": ..., parameter: value, ...}`` describes.

    Raises:
        KeyError: there is no such block.
        pydantic.ValidationError: its parameters are wrong.
    """
    parameters = {key: item for key, item in value.items() if key != "name"}
    return REGISTRY[kind][value["name"]].model_validate(parameters)


def load(block: Block) -> Any:
    """Import the implementation of a block."""
    module, _, attribute = block.code.partition(":")
    return getattr(importlib.import_module(module), attribute)

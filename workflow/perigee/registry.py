"""Every block that a configuration may name: one line each, and those of the user's own.

A block's configuration class says which parameters it takes and where its code is. The code is
imported only when it is needed, so planning needs no torch, and a run's code digest covers only the
blocks that its own spec names. To add a block, write its module and its class, and add its line.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
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
from perigee.errors import PerigeeError
from perigee.paths import OWN_PACKAGES

BLOCKS: tuple[type[Block], ...] = (
    analyses.BasinAfterDecay,
    analyses.BasinSteps,
    analyses.CompletePeriods,
    analyses.Destabilisations,
    analyses.Dials,
    analyses.EnsembleGains,
    analyses.Equilibrium,
    analyses.EquilibriumRuns,
    analyses.FilterStatistics,
    analyses.FilterValues,
    analyses.FineTuning,
    analyses.LateImageErrors,
    analyses.LayerCourses,
    analyses.LayerSteps,
    analyses.OnePeriod,
    analyses.PeriodStatistics,
    analyses.Regimes,
    analyses.RunMetrics,
    analyses.ScaleInvariantSteps,
    analyses.SharpnessProfiles,
    analyses.Similarity,
    analyses.StageMetrics,
    analyses.Stages,
    analyses.ToyConvergence,
    analyses.ToyGradientIdentities,
    analyses.ToyGroupIdentities,
    analyses.ToyRegimes,
    analyses.ToyStabilisation,
    augmentations.CropAndFlip,
    augmentations.HorizontalFlip,
    augmentations.NoAugmentation,
    augmentations.ResizedCropAndFlip,
    constraints.EqualFilterNorms,
    constraints.FixedNorm,
    constraints.Unconstrained,
    datasets.Cifar10,
    datasets.Cifar100,
    datasets.Coco,
    datasets.ColouredShapes,
    datasets.DigitPairs,
    datasets.Digits,
    datasets.FashionMnist,
    datasets.ImageFolder,
    evaluations.Predictions,
    evaluations.RecomputedPredictions,
    forks.AtEpoch,
    forks.AtNormBeforeDestabilisation,
    forks.BeforeDestabilisation,
    losses.CrossEntropy,
    measures.Checkpoints,
    measures.Filters,
    measures.FullGradientNorm,
    measures.Layers,
    measures.Metrics,
    measures.RecomputedMetrics,
    measures.RecomputedTestHits,
    measures.Steps,
    measures.TestHits,
    measures.ThinnedLayers,
    models.ConvNet,
    models.MaskRCNN,
    models.PostActivationResNet,
    models.ResNet18,
    optimisers.Adam,
    optimisers.AdamW,
    optimisers.ProjectedSGD,
    optimisers.SGD,
    quantities.Column,
    quantities.ColumnAtLowest,
    quantities.DestabilisationCount,
    quantities.JumpConditionError,
    quantities.NormPredictionError,
    quantities.SimilarityExcess,
    quantities.SimilarityInLastPeriod,
    quantities.SimilarityTrend,
    quantities.SimilarityWithinPeriod,
    quantities.TrainLossRatio,
    schedules.Constant,
    schedules.Cosine,
    schedules.RescaledSteps,
    schedules.Steps,
    tasks.Classification,
    tasks.StreamedClassification,
    tasks.StreamedDetection,
)

REGISTRY: dict[str, dict[str, type[Block]]] = {}
"""Kind -> name -> configuration class."""

BASES: dict[str, type[Block]] = {
    block.kind: block for block in Block.__subclasses__() if "kind" in vars(block)
}
"""Kind -> the class that all blocks of this kind are derived from."""

for block_class in BLOCKS:
    assert issubclass(block_class, BASES[block_class.kind])
    REGISTRY.setdefault(block_class.kind, {})[block_class.name] = block_class


def register_package(folder: Path) -> None:
    """Register the blocks that a package of the user's declares.

    Every `Block` that gives itself a name in the package's __init__.py, or in a module of the
    package that it imports, is registered. The package is found by its folder, so that nothing else
    in the project can take the place of another module.

    Args:
        folder: of the package; its name is the package's.

    Raises:
        PerigeeError: it cannot be imported, another module has its name, or a block of it has the
            name of another block, no code, or not the base class of its kind.
    """
    name, init = folder.name, folder / "__init__.py"
    if OWN_PACKAGES.get(name) == folder:
        return
    if OWN_PACKAGES or name in sys.modules or name in sys.stdlib_module_names:
        taken = next(iter(OWN_PACKAGES.values()), f"a Python module named '{name}'")
        raise PerigeeError(
            f"{folder}: the blocks cannot be imported, for {taken} was imported before; rename the "
            "package, or start a new Python for another project."
        )
    found = spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    assert found is not None
    assert found.loader is not None
    sys.modules[name] = package = module_from_spec(found)
    try:
        found.loader.exec_module(package)
    except Exception as error:
        for module in [one for one in sys.modules if one.partition(".")[0] == name]:
            del sys.modules[module]
        text = " ".join(str(error).split())
        raise PerigeeError(
            f"{init} cannot be imported ({type(error).__name__}: {text}); mend that file or "
            "what it imports."
        ) from error
    for block in _subclasses(Block):
        is_own = block.__module__.partition(".")[0] == name
        declared_in = sys.modules.get(block.__module__)
        if is_own and getattr(declared_in, block.__name__, None) is block:
            _register(block, init)
    OWN_PACKAGES[name] = folder


def is_own(block: type[Block]) -> bool:
    """True if a block is one of the user's own."""
    return block.__module__.partition(".")[0] in OWN_PACKAGES


def _register(block: type[Block], init: Path) -> None:
    if "name" not in vars(block):
        return  # a class that others are derived from
    if not hasattr(block, "kind") or ":" not in getattr(block, "code", ""):
        raise PerigeeError(
            f"{init}: the block '{block.name}' has no kind or no code; derive it from a class such "
            f'as perigee.blocks.optimisers.Optimiser, with code="{init.parent.name}.module:Class".'
        )
    if block.kind not in BASES:
        raise PerigeeError(
            f"{init}: the block '{block.name}' has the kind '{block.kind}', which there is not; "
            f"known are {', '.join(sorted(BASES))}."
        )
    base = BASES[block.kind]
    if not issubclass(block, base):
        raise PerigeeError(
            f"{init}: the block '{block.name}' has the kind '{block.kind}', but is not derived "
            f"from {base.__module__}.{base.__name__}; derive it from that class."
        )
    other = REGISTRY.setdefault(block.kind, {}).setdefault(block.name, block)
    if other is not block:
        raise PerigeeError(
            f"{init}: there is already a block of kind '{block.kind}' named '{block.name}', "
            f"{other.__module__}.{other.__name__}; give {block.__name__} another name."
        )
    module, _, attribute = block.code.partition(":")
    defined = _defined(init, module) if module.partition(".")[0] == init.parent.name else {"*"}
    if not defined & {attribute, "*"}:
        raise PerigeeError(
            f"{init}: the block '{block.name}' has code=\"{block.code}\", but there is no "
            f"'{attribute}' in {module}; write it or mend the declaration."
        )


def _defined(init: Path, module: str) -> set[str]:
    """The names that a module of the user's package defines; it is parsed and not imported.

    "*" is among them if it imports all names of another module.

    Raises:
        PerigeeError: the module is not Python, or not UTF-8.
    """
    path = init.parents[1].joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    file = next((one for one in files if one.is_file()), None)
    if file is None:
        return set()
    names: set[str] = set()
    try:
        tree = ast.parse(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PerigeeError(f"{file} is not UTF-8 ({error}); save it as UTF-8.") from error
    except SyntaxError as error:
        raise PerigeeError(f"{file}, line {error.lineno}: {error.msg}; mend that line.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _subclasses(base: type[Block]) -> Iterator[type[Block]]:
    for one in base.__subclasses__():
        yield one
        yield from _subclasses(one)


def make(kind: str, value: Mapping[str, Any]) -> Any:
    """The block that ``{"name": ..., parameter: value, ...}`` describes, of its kind's base class.

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

"""A step of ResNet-50 with the measure `layers`, against one without."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from card.document import summary
from card.runs import (
    PLACEHOLDER,
    Size,
    Steps,
    milliseconds_per_step,
    random_images,
    require_captured,
    trainer_of,
)
from perigee import registry
from perigee.blocks.measures import Layers
from perigee.spec import RunSpec

BATCHES, CLASSES = 4, 1000
WITH, WITHOUT = "with layers", "without layers"


def steps_of_resnet50(precision: str, device: str, size: Size, way: str) -> dict[str, Any]:
    """The times of a step with momentum, and their ratio.

    Raises:
        ImportError: torchvision is missing, whose network it is.
    """
    import torchvision  # noqa: F401 # tell that it is missing before anything is made

    model = {"name": "post_activation_resnet", "block": "bottleneck", "stem": "large"}
    rule = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.0001, "momentum": 0.9}
    spec = RunSpec.from_dict(
        {
            "dataset": PLACEHOLDER,
            "model": {**model, "blocks": [3, 4, 6, 3], "width": 64 // size.divisor},
            "optimiser": {**rule, "undecayed": ["normalisation"]},
            "batch_size": size.resnet_batch,
            "seed": 0,
            "precision": precision,
        }
    )
    shape = (3, size.resnet_side, size.resnet_side)
    images = random_images(BATCHES * size.resnet_batch, size.resnet_batch, shape, CLASSES)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for told in (WITHOUT, WITH):
            trainer = trainer_of(spec, images, device, way)
            measures = {Layers.name: registry.load(Layers())(trainer)} if told == WITH else {}
            steps = Steps(trainer, Path(folder) / told, measures)
            found[told] = milliseconds_per_step(steps, size)
            require_captured(trainer, way)
    ratio = summary(found[WITH])["median"] / summary(found[WITHOUT])["median"]
    return {
        **{f"ms per step, {told}": summary(times) for told, times in found.items()},
        f"{WITH} / {WITHOUT}": float(f"{ratio:.4g}"),
        "images": f"{size.resnet_batch} x {shape[1]} x {shape[2]}",
    }

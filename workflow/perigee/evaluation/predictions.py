"""Class probabilities of a run's kept checkpoints on its test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from perigee import registry
from perigee.checkpoints import Trajectory
from perigee.data.arrays import ArrayDataset
from perigee.data.device import DeviceDataset
from perigee.spec import RunSpec
from perigee.training.execution import Execution

EVALUATION_BATCH = 2048
"""Images a forward pass takes."""


@torch.no_grad()
def checkpoint_probabilities(
    spec: RunSpec, dataset: ArrayDataset, execution: Execution, trajectory: Trajectory
) -> Iterator[NDArray[np.float32]]:
    """Softmax of the logits in eval mode, checkpoint by checkpoint.

    BatchNorm uses the running statistics kept with the checkpoint; what the run did not train is as
    its seed initialises it.

    Args:
        spec: of the run.
        dataset: that it was trained on.
        execution: where and how to compute.
        trajectory: its kept checkpoints, of which one is in memory at a time.

    Yields:
        (test images, classes).
    """
    test_only = replace(
        dataset, train_images=dataset.train_images[:0], train_labels=dataset.train_labels[:0]
    )
    data = DeviceDataset.load(test_only, execution.device, execution.dtype, execution.memory_format)
    build_model = registry.load("model", spec.model)
    model = build_model(dataset.image_shape, dataset.classes, spec.seed, **spec.model.parameters)
    model = model.to(device=execution.device, dtype=execution.dtype).eval()
    for epoch in trajectory.epochs:
        kept = {k: torch.from_numpy(v) for k, v in trajectory.checkpoint(epoch).items()}
        model.load_state_dict(model.state_dict() | kept)
        logits = [model(images) for images, _ in data.test.batches(EVALUATION_BATCH)]
        probabilities = torch.cat(logits).softmax(dim=1).to("cpu", torch.float32)
        yield probabilities.numpy()


def write_probabilities(
    path: Path,
    probabilities: Iterator[NDArray[np.float32]],
    shape: tuple[int, int, int],
    written: Callable[[int], None] = lambda checkpoints: None,
) -> None:
    """One array file of all checkpoints, written as they come.

    Args:
        path: of the file.
        probabilities: of each checkpoint in turn, (test images, classes).
        shape: of the whole, (checkpoints, test images, classes).
        written: is told after every checkpoint how many are written.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with path.open("wb") as stream:
        npy.write_array_header_1_0(stream, header)
        for number, rows in enumerate(probabilities, start=1):
            stream.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
            written(number)

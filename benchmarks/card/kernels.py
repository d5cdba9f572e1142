"""Where the time of a captured step goes: its kernels, by PyTorch's profiler.

The profiler slows down what is timed after it, so the steps are those of a process of its own.
Without a GPU it names operations and their time on the CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from card.children import children
from card.runs import CAPTURED, Size, Steps, random_images, require_captured, spec_of, trainer_of

RUNS = (
    *(("convnet-32", "tf32"), ("resnet18-16", "tf32"), ("resnet18-64", "tf32")),
    ("convnet-32", "float32"),
)
BATCHES = 48
"""Mini-batches of an epoch, whose images are noise."""
MOST = 40
"""The kernels that are listed, those of most time first; the rest is summed up."""
NAME_LENGTH = 120
START_S = 35
"""How long its process may take, the start included."""


def of_a_step(network: str, precision: str, device: str, size: Size) -> dict[str, Any]:
    """The kernels of a captured step, and of what the GPU does between two, with their times."""
    told = {"network": network, "precision": precision, "device": device, "size": asdict(size)}
    with children(1, "card.kernels", json.dumps(told)) as (child,):
        heard: dict[str, Any] = json.loads(child.hear(START_S))
    if "error" in heard:
        raise RuntimeError(heard["error"])
    return heard


def profiled(network: str, precision: str, device: str, size: Size) -> dict[str, Any]:
    """The same, in this process."""
    images = random_images(BATCHES * size.batch, size.batch)
    trainer = trainer_of(spec_of(network, precision, size), images, device, CAPTURED)
    is_gpu = trainer.execution.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(trainer, Path(folder))
        steps.take(size.warm_up)
        if is_gpu:
            require_captured(trainer, CAPTURED)
        activity = ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU
        with profile(activities=[activity]) as seen:
            steps.take(size.steps)
    found = [
        (one.self_device_time_total if is_gpu else one.self_cpu_time_total, one.count, one.key)
        for one in seen.key_averages()
    ]
    found = sorted((one for one in found if one[0] > 0), reverse=True)  # no calls of the host
    if not found:
        raise RuntimeError("the profiler saw no kernels")
    listed = [
        {
            "name": name[:NAME_LENGTH],
            "per step": float(f"{count / size.steps:.4g}"),
            "us per step": float(f"{microseconds / size.steps:.4g}"),
        }
        for microseconds, count, name in found[:MOST]
    ]
    rest = sum(microseconds for microseconds, *_ in found[MOST:])
    whole = sum(microseconds for microseconds, *_ in found)
    return {
        "busy ms per step": float(f"{whole / size.steps / 1000:.5g}"),
        "kernels": listed,
        "us per step of others": float(f"{rest / size.steps:.4g}"),
        "profiled steps": size.steps,
    }


def main(told: str) -> None:
    """Print what was found, in a line."""
    given = json.loads(told)
    try:
        found = profiled(**{**given, "size": Size(**given["size"])})
    except RuntimeError as error:
        found = {"error": str(error).partition("\n")[0]}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""How a training process computes, for the provenance of what it makes."""

from __future__ import annotations

from typing import Any

import torch

from perigee.kernel.trainer import Trainer


def computing(trainer: Trainer) -> dict[str, Any]:
    """The settings that decide a run's last bits on one machine, as JSON values.

    Args:
        trainer: the run, after `perigee.kernel.execution.prepare`.
    """
    execution = trainer.execution
    on_gpu = execution.device.type == "cuda"
    return {
        "device": execution.device.type,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "precision": trainer.spec.precision,
        "tf32_convolutions": on_gpu and torch.backends.cudnn.allow_tf32,
        "tf32_matrix_products": on_gpu and torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": on_gpu and torch.backends.cudnn.benchmark,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "channels_last": execution.memory_format is torch.channels_last,
        "capture": trainer.may_capture,
    }

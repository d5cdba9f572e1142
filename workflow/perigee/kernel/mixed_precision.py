"""Mixed precision: activations in bfloat16, weights, statistics and updates in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def compute_in_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Have a network compute its activations in bfloat16, wherever it is called from then on.

    PyTorch's autocast decides which operations do, as in the usual recipes: convolutions and matrix
    products, with weights that are rounded for them; gradients of weights are float32 again. The
    network's outputs are float32, so that losses are, too. So are the outputs of linear layers and
    of convolutions with a bias, which make predictions: bfloat16 tells pixels of boxes apart only
    up to 256 (our choice). Measures see the same network as training does (our choice).

    Args:
        model: the network; it gets hooks, and a copy of it has them, too.
        device: where it is.
    """
    autocast = _Autocast(device.type)
    model.register_forward_pre_hook(autocast.begin)
    model.register_forward_hook(autocast.end, always_call=True)
    for module in model.modules():
        predicts = isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None
        )
        if predicts:
            module.register_forward_hook(_in_float32)


class _Autocast:
    """Autocast from the beginning to the end of a network's call.

    Args:
        device_type: "cpu" or "cuda".
    """

    def __init__(self, device_type: str) -> None:
        self._device_type = device_type
        self._active: list[torch.autocast] = []

    def begin(self, module: nn.Module, inputs: Any) -> None:
        context = torch.autocast(self._device_type, torch.bfloat16)
        context.__enter__()
        self._active.append(context)

    def end(self, module: nn.Module, inputs: Any, output: Tensor | None) -> Tensor | None:
        self._active.pop().__exit__(None, None, None)
        return None if output is None else _in_float32(module, inputs, output)  # None: it failed


def _in_float32(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Numbers of float64, as in a proof of a network's declaration, stay as they are."""
    return output.float() if output.dtype is torch.bfloat16 else output

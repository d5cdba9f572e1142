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
        model: the network, changed in place; `torch.fx` cannot trace it afterwards.
        device: where it is.
    """
    forward = model.forward

    def autocast(inputs: Any) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            outputs: Tensor = forward(inputs)
        return outputs.float()

    model.forward = autocast
    for module in model.modules():
        predicts = isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None
        )
        if predicts:
            module.register_forward_hook(_in_float32)


def _in_float32(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()

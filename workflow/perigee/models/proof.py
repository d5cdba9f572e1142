"""The proof that a network's scale-invariant weights are what it declares."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perigee.errors import PerigeeError
from perigee.models.declaration import declared_weights

EPSILON = 1e-300
"""Of normalisations during the proof: with a larger one, invariance only holds approximately."""
TOLERANCE = 1e-6
"""Of outputs, relative to the largest of them; float64 keeps to 1e-12 in the papers' networks."""
FACTOR = torch.tensor([1.7], dtype=torch.float64)
"""That all declared weights are multiplied by together."""


def prove_declaration(model: nn.Module, images: Tensor) -> None:
    """Hold a network to its declaration by scaling weights at random.

    Args:
        model: with the attribute ``scale_invariant_weights``; left as it is.
        images: some to compute outputs of, (images, channels, height, width).

    Raises:
        PerigeeError: scaling a declared weight changes the output; the message names it.
    """
    declared = declared_weights(model)
    if not declared.names:
        return
    tested = copy.deepcopy(model).to("cpu", torch.float64).train()
    for module in tested.modules():
        if hasattr(module, "eps"):
            module.eps = EPSILON  # type: ignore[assignment]
    images = images.detach().to("cpu", torch.float64)
    generator = torch.Generator().manual_seed(0)
    expected = _outputs(tested, images)
    if _differs(tested, images, expected, dict.fromkeys(declared.names, FACTOR)):
        wrong = [
            name
            for name in declared.names
            if not _differs(
                tested,
                images,
                expected,
                {other: FACTOR for other in declared.names if other != name},
            )
        ]
        raise _error(model, wrong or declared.names, "scale-invariant together with the others")
    for name in declared.by_filter:
        filters = tested.get_parameter(name)
        shape = (len(filters),) + (1,) * (filters.ndim - 1)
        factors = torch.empty(shape, dtype=torch.float64).uniform_(0.5, 2, generator=generator)
        if _differs(tested, images, expected, {name: factors}):
            raise _error(model, [name], "scale-invariant filter by filter")


def _differs(
    model: nn.Module, images: Tensor, expected: Tensor, factors: dict[str, Tensor]
) -> bool:
    """Whether the output changes if some weights are multiplied by factors."""
    kept = {name: model.get_parameter(name).detach().clone() for name in factors}
    with torch.no_grad():
        for name, factor in factors.items():
            model.get_parameter(name).mul_(factor)
        found = _outputs(model, images)
        for name, value in kept.items():
            model.get_parameter(name).copy_(value)
    return bool((found - expected).abs().max() > TOLERANCE * expected.abs().max())


@torch.no_grad()
def _outputs(model: nn.Module, images: Tensor) -> Tensor:
    outputs: Tensor = model(images)
    return outputs


def _error(model: nn.Module, names: Sequence[str], declared: str) -> PerigeeError:
    return PerigeeError(
        f"{type(model).__name__} declares '{', '.join(names)}' {declared}, but scaling it changes "
        "the network's output; mend the model's declaration."
    )

"""The proof that a network's scale-invariant weights are those that it declares."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perigee.errors import PerigeeError
from perigee.models.declaration import declared_weights

EPSILON = 1e-300
"""Epsilon of normalisations in the proof: with a larger one, invariance is only approximate."""
TOLERANCE = 1e-6
"""The tolerance of outputs, relative to the largest; the papers' networks keep 1e-12 in float64."""
FACTOR = 1.7
"""The factor by which all declared weights are multiplied together."""
IMAGES = 8


def prove_declaration(model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Check a network's declaration by scaling weights, on random images in train mode.

    In a copy of the network, biases and the location and scale of normalisations get random values:
    at their initialisation, zero or one, a wrong declaration could pass.

    Args:
        model: the network, with the attribute ``scale_invariant_weights``; left unchanged.
        image_shape: (channels, height, width).

    Raises:
        PerigeeError: scaling a declared weight changes the output; the message names it.
    """
    declared = declared_weights(model)
    if not declared.names:
        return
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    absent = next((name for name in declared.names if name not in trained), None)
    if absent is not None:
        raise PerigeeError(
            f"{type(model).__name__} declares '{absent}' scale-invariant, which is not among "
            "its trained parameters; mend the model's declaration."
        )
    foreign = next((name for name in declared.by_filter if name not in declared.names), None)
    if foreign is not None:
        raise _error(model, [foreign], "scale-invariant filter by filter, but not at all")
    generator = torch.Generator().manual_seed(0)
    tested = copy.deepcopy(model).to("cpu", torch.float64).train()
    for module in tested.modules():
        if hasattr(module, "eps"):
            module.eps = EPSILON  # type: ignore[assignment]
    for parameter in tested.parameters():
        if parameter.ndim < 2:
            nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    images = torch.randn((IMAGES, *image_shape), generator=generator, dtype=torch.float64)
    proof = _Proof(tested, images)

    together = dict.fromkeys(declared.names, torch.tensor(FACTOR, dtype=torch.float64))
    if proof.fails(together):
        wrong = [
            name
            for name in declared.names
            if not proof.fails({other: f for other, f in together.items() if other != name})
        ]
        raise _error(model, wrong or declared.names, "scale-invariant together with the others")
    by_filter = {
        name: _factors(tested.get_parameter(name), generator) for name in declared.by_filter
    }
    if proof.fails(by_filter):
        wrong = [name for name in declared.by_filter if proof.fails({name: by_filter[name]})]
        raise _error(model, wrong or declared.by_filter, "scale-invariant filter by filter")


class _Proof:
    """The comparison of a network's output before and after scaling its weights."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self._model, self._images = model, images
        self._expected = self._outputs()

    def fails(self, factors: dict[str, Tensor]) -> bool:
        """Return whether the output changes if some weights are multiplied by factors."""
        weights = {name: self._model.get_parameter(name) for name in factors}
        kept = {name: weight.detach().clone() for name, weight in weights.items()}
        with torch.no_grad():
            for name, factor in factors.items():
                weights[name].mul_(factor)
            found = self._outputs()
            for name, value in kept.items():
                weights[name].copy_(value)
        largest = self._expected.abs().max()
        # Written so that an output that is not a number fails, too.
        return not bool((found - self._expected).abs().max() <= TOLERANCE * largest)

    @torch.no_grad()
    def _outputs(self) -> Tensor:
        outputs: Tensor = self._model(self._images)
        return outputs


def _factors(weight: Tensor, generator: torch.Generator) -> Tensor:
    """A random factor for each filter, (filters, 1, ...)."""
    factors = weight.new_empty((len(weight),) + (1,) * (weight.ndim - 1))
    return factors.uniform_(0.5, 2, generator=generator)


def _error(model: nn.Module, names: Sequence[str], declared: str) -> PerigeeError:
    return PerigeeError(
        f"{type(model).__name__} declares '{', '.join(names)}' {declared}, but scaling it changes "
        "the network's output; mend the model's declaration."
    )

"""All trained parameters of a network as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from perigee.errors import PerigeeError
from perigee.models.declaration import declared_weights

SCALE_INVARIANT, NORMALISATION, OTHER = "scale_invariant", "normalisation", "other"
"""The names of the groups that trained parameters are divided into: scale-invariant weights,
location and scale of normalisations, and the rest."""


class FlatParameters:
    """All trained parameters as one vector, and their gradients as another.

    The network's parameters become views of the vectors, the scale-invariant ones first, so that
    update rule, projection and norms are single operations and read as in the papers.

    Args:
        model: the network, which declares its scale-invariant weights.
        memory_format: how the weights of convolutions are laid out within the vectors.

    Attributes:
        values: (trained parameters,).
        gradient: (trained parameters,); backward passes add to it.
        weights: the scale-invariant part of ``values``, a view.
        weights_gradient: the same part of ``gradient``, a view.
        weight_names: names of the scale-invariant parameters, in order.
        filter_names: names of those that are scale-invariant filter by filter, in order.
        names: names of all trained parameters, in order.
        lengths: how many numbers each of these has.
        groups: the name of the group of each of these.

    Raises:
        PerigeeError: nothing trains, or the declaration names what does not train.
    """

    def __init__(
        self, model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format
    ) -> None:
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        declared = declared_weights(model)
        self.weight_names = declared.names
        self.filter_names = tuple(n for n in self.weight_names if n in declared.by_filter)
        if not parameters:
            raise PerigeeError(
                f"{type(model).__name__} has no parameter that trains; choose another model."
            )
        absent = next((name for name in self.weight_names if name not in parameters), None)
        if absent is not None:
            raise PerigeeError(
                f"{type(model).__name__} declares '{absent}' scale-invariant, which is not among "
                "its trained parameters; mend the model's declaration."
            )
        others = tuple(name for name in parameters if name not in self.weight_names)
        self.names = self.weight_names + others
        self.lengths = tuple(parameters[name].numel() for name in self.names)
        self._shapes = [parameters[name].shape for name in self.names]
        self._memory_format = memory_format
        first = next(iter(parameters.values()))
        self.values = torch.empty(sum(self.lengths), device=first.device, dtype=first.dtype)
        self.gradient = torch.zeros_like(self.values)
        parts = zip(self.names, self._parts(self.values), self._parts(self.gradient), strict=True)
        for name, values, gradient in parts:
            parameter = parameters[name]
            values.copy_(parameter.detach())
            parameter.data, parameter.grad = values, gradient
        scale_invariant = sum(self.lengths[: len(self.weight_names)])
        self.weights = self.values[:scale_invariant]
        self.weights_gradient = self.gradient[:scale_invariant]
        # The base class of all kinds of BatchNorm, also of those that several processes share.
        normalisations = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
        of_normalisations = {
            id(p) for m in model.modules() if isinstance(m, normalisations) for p in m.parameters()
        }
        self.groups = (SCALE_INVARIANT,) * len(self.weight_names) + tuple(
            NORMALISATION if id(parameters[name]) in of_normalisations else OTHER for name in others
        )

    @property
    def filters(self) -> list[Tensor]:
        """The weights of `filter_names`, a row per filter: views, each (filters, numbers)."""
        return self.by_filter(self.values)

    def by_filter(self, vector: Tensor) -> list[Tensor]:
        """The same parts of another vector, such as the gradient, as views.

        Args:
            vector: a vector as long as ``values``.
        """
        parts = zip(self.names, self._shapes, vector.split(self.lengths), strict=True)
        # The outputs of a convolution come first in either layout.
        return [
            chunk.view(shape[0], -1) for name, shape, chunk in parts if name in self.filter_names
        ]

    def strict(self, vector: Tensor) -> Tensor:
        """Return a vector's numbers with every parameter in row-major order, whatever the layout.

        Args:
            vector: a vector as long as ``values``, such as a velocity.

        Returns:
            A copy, (trained parameters,).
        """
        return torch.cat([part.reshape(-1) for part in self._parts(vector)])

    def copy_strict(self, vector: Tensor, numbers: Tensor) -> None:
        """Fill a vector, which may have another layout, with the numbers that `strict` returned."""
        given = numbers.split(self.lengths)
        for part, own in zip(self._parts(vector), given, strict=True):
            part.copy_(own.view(part.shape))

    def _parts(self, vector: Tensor) -> list[Tensor]:
        """A view for every parameter."""
        return [
            _view(chunk, shape, self._memory_format)
            for chunk, shape in zip(vector.split(self.lengths), self._shapes, strict=True)
        ]

    def coefficients(self, value: float, left_out: Sequence[str] = ()) -> Tensor:
        """Return a coefficient, such as the weight decay, for every parameter.

        Args:
            value: the coefficient of all parameters except those of groups left out, which get 0.
            left_out: names of the groups left out.

        Returns:
            A tensor without dimensions if no group is left out, else (trained parameters,).

        Raises:
            PerigeeError: there is no such group.
        """
        known = (SCALE_INVARIANT, NORMALISATION, OTHER)
        unknown = next((name for name in left_out if name not in known), None)
        if unknown is not None:
            raise PerigeeError(
                f"Key 'optimiser.undecayed' names '{unknown}', which is not a group of parameters; "
                f"known are {', '.join(known)}."
            )
        if not left_out:
            return self.values.new_tensor(value)
        each = [0.0 if group in left_out else value for group in self.groups]
        lengths = torch.tensor(self.lengths, device=self.values.device)
        return torch.repeat_interleave(
            self.values.new_tensor(each), lengths, output_size=len(self.values)
        )


def _view(chunk: Tensor, shape: torch.Size, memory_format: torch.memory_format) -> Tensor:
    """Part of a vector as a tensor of the given shape, channels-last if that is the layout."""
    if memory_format == torch.channels_last and len(shape) == 4:
        outputs, inputs, height, width = shape
        return chunk.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
    return chunk.view(shape)

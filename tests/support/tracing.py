"""The scale-invariant parameters of a network, derived from its structure.

A set of weights is scale-invariant if multiplying all of them by the same c > 0 leaves the output
unchanged. That is decided here from the traced graph: every activation gets its *degree*, telling
which powers of which weights it is proportional to. A convolution without bias adds its weight to
the degree of its input, BatchNorm resets the degree to none, ReLU and pooling keep it, an addition
needs both sides to grow alike, and the output must not grow at all. No parameter's name is looked
at, so it is an oracle for what models declare.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn

from perigee.errors import PerigeeError

NORMALISING_MODULES = (nn.BatchNorm1d, nn.BatchNorm2d)
"""Modules whose output does not change when the input is multiplied by c > 0 (up to epsilon)."""

HOMOGENEOUS_MODULES = (
    nn.ReLU,
    nn.MaxPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
)
"""Modules whose output is multiplied by c when the input is, for c > 0."""

LINEAR_MODULES = (nn.Conv2d, nn.Linear)
"""Modules whose output is proportional to weight and input, if they have no bias."""

HOMOGENEOUS_FUNCTIONS: tuple[Callable[..., object], ...] = (torch.relu, torch.flatten)
ADDITIONS: tuple[Callable[..., object], ...] = (operator.add, operator.iadd, torch.add)

Degree = Counter[str]
"""The number of times that each weight, by its full name, is a factor of an activation."""


class _Constraints:
    """The conditions under which a joint scaling leaves the network's output unchanged."""

    def __init__(self) -> None:
        self.equal_degrees: list[tuple[Degree, Degree]] = []
        self.never_scaled: set[str] = set()

    def invariant_set(self, weights: set[str]) -> set[str]:
        """The weights left when those that break a constraint are dropped, until none does."""
        kept = weights - self.never_scaled
        while broken := set().union(
            *(self._differing(*sides, kept) for sides in self.equal_degrees)
        ):
            kept -= broken
        return kept

    @staticmethod
    def _differing(left: Degree, right: Degree, kept: set[str]) -> set[str]:
        """The weights by which two degrees differ, if scaling all kept ones makes them differ."""
        only_left = Counter({name: n for name, n in (left - right).items() if name in kept})
        only_right = Counter({name: n for name, n in (right - left).items() if name in kept})
        if only_left.total() == only_right.total():
            return set()
        return set(only_left | only_right)


def scale_invariant_names(model: nn.Module) -> tuple[str, ...]:
    """The names of the trained parameters that together are scale-invariant, in the model's order.

    Multiplying all of them by the same c > 0 does not change the output in train mode (Lobacheva
    et al. 2021, Section 2). Location and scale of BatchNorm and biases are never among them.

    Args:
        model: a network that `torch.fx` can trace.

    Raises:
        PerigeeError: the network uses an operation whose behaviour under scaling is not known.
    """
    modules = dict(model.named_modules())
    # By identity, since tied layers hold one parameter under several names.
    trained = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    constraints = _Constraints()
    weights: set[str] = set()
    degrees: dict[fx.Node, Degree] = {}
    for node in fx.symbolic_trace(model).graph.nodes:
        inputs = [degrees[source] for source in node.all_input_nodes]
        if node.op == "placeholder":
            degrees[node] = Counter()
        elif node.op == "output":
            constraints.equal_degrees.extend((degree, Counter()) for degree in inputs)
        elif node.op == "call_module":
            degrees[node] = _module_degree(
                node, modules[node.target], inputs[0], trained, weights, constraints
            )
        elif node.op == "call_function" and node.target in HOMOGENEOUS_FUNCTIONS:
            degrees[node] = inputs[0]
        elif node.op == "call_function" and node.target in ADDITIONS and len(inputs) == 2:
            constraints.equal_degrees.append((inputs[0], inputs[1]))
            degrees[node] = inputs[0]
        else:
            raise PerigeeError(
                f"{type(model).__name__}: how the output of '{node.op} {node.target}' grows with "
                "its input is not known; add it to tests/support/tracing.py."
            )
    invariant = constraints.invariant_set(weights)
    return tuple(name for name, _ in model.named_parameters() if name in invariant)


def _module_degree(
    node: fx.Node,
    module: nn.Module,
    degree: Degree,
    trained: dict[int, str],
    weights: set[str],
    constraints: _Constraints,
) -> Degree:
    if isinstance(module, NORMALISING_MODULES):
        return Counter()
    if isinstance(module, HOMOGENEOUS_MODULES):
        return degree
    if isinstance(module, LINEAR_MODULES):
        weight = trained.get(id(module.weight))
        if module.bias is not None:
            # A bias does not grow with the weights, so nothing before or in this layer may. (A
            # normalisation right behind it would cancel it; no network of the papers has both.)
            if weight is not None:
                constraints.never_scaled.add(weight)
            constraints.equal_degrees.append((degree, Counter()))
            return Counter()
        if weight is None:
            return degree
        weights.add(weight)
        return degree + Counter({weight: 1})
    raise PerigeeError(
        f"How the output of a {type(module).__name__} ('{node.target}') grows with its input is "
        "not known; add it to tests/support/tracing.py."
    )

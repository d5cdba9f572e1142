"""An independent training run in plain PyTorch, with which the trainer is compared.

Nothing of perigee is imported here: network from `torch.nn` modules, `torch.optim.SGD`, the
gradients one tensor each, every logged quantity by its definition in float64.

``python tests/support/reference_training.py NAME...`` writes those settings' curves in
golden_curves.json again. Do that only when the papers' algorithm is meant to change, and say so in
the change log.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

GOLDEN_FILE = Path(__file__).with_name("golden_curves.json")
STEP_QUANTITIES = ("loss", "gradient_norm", "weight_norm", "cosine_distance")

CLASSES = 10
HEAD_NORM = 10.0
MEAN, STD = 4.75, 6.0
"""The approximate mean and deviation of the digits' grey levels; any fixed values would do."""


@dataclass(frozen=True)
class Settings:
    """A run; ``norm`` is None in the whole space, a radius on the sphere.

    With a ``padding``, images are cropped and flipped at random. With ``full_batch``, there is one
    step an epoch, of the whole training set's mean loss. At each of the ``milestones`` the learning
    rate is divided by 10. Parameters of the groups ``undecayed`` have no weight decay; the groups
    are "scale_invariant", "normalisation" and "other".
    """

    width: int = 2
    scale_invariant: bool = True
    learning_rate: float = 0.1
    weight_decay: float = 0.01
    momentum: float = 0.0
    cosine_horizon: int | None = None
    milestones: tuple[int, ...] = ()
    norm: float | None = None
    batch_size: int = 20
    seed: int = 0
    optimiser: str = "sgd"
    model: str = "convnet"
    label_smoothing: float = 0.0
    padding: int | None = None
    full_batch: bool = False
    undecayed: tuple[str, ...] = ()


GOLDEN_SETTINGS = {
    "plain": Settings(learning_rate=0.5, weight_decay=0.05),
    "momentum": Settings(learning_rate=0.1, weight_decay=0.01, momentum=0.9, seed=1),
    "standard": Settings(scale_invariant=False, momentum=0.5, weight_decay=0.02, seed=2),
    "sphere": Settings(norm=3.0, weight_decay=0.0, cosine_horizon=4, width=3, seed=3),
    # In small batches its last normalisations, over single pixels, amplify round-off.
    "resnet18": Settings(
        model="resnet18", learning_rate=0.3, weight_decay=0.02, batch_size=35, seed=4
    ),
    "standard_resnet18": Settings(
        model="resnet18", scale_invariant=False, momentum=0.9, weight_decay=0.01, seed=5
    ),
    "smoothed": Settings(label_smoothing=0.2, seed=6),
    "augmented": Settings(padding=2, momentum=0.5, seed=7),
    "full_batch": Settings(full_batch=True, momentum=0.9, learning_rate=0.3, seed=8),
}
GOLDEN_EPOCHS = 3


@dataclass
class Curves:
    """The measured course of a run.

    Attributes:
        steps: for each epoch, `STEP_QUANTITIES` of every step, (steps, 4).
        layers: for each epoch, convolution and step: norm, gradient norm, angle between
            the weights before and after, and inner product of velocity and gradient,
            (steps, convolutions, 4); without momentum the last is 0.
        metrics: the metrics of the initialisation and each epoch.
        states: the states of network and optimiser at the same times, one array per parameter.
    """

    steps: list[np.ndarray] = field(default_factory=list)
    layers: list[np.ndarray] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    states: list[dict[str, list[np.ndarray]]] = field(default_factory=list)


def few_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw 70 train and 30 test images (uint8, (n, 1, 8, 8)); 70 leaves a partial batch."""
    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8)[:, None], bunch.target.astype(np.uint8)
    return images[:70], labels[:70], images[70:100], labels[70:100]


def plain_network(
    channels: int, classes: int, width: int, scale_invariant: bool, seed: int
) -> nn.Sequential:
    """The ConvNet as one flat list of layers; the last is the head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        widths = (channels, width, 2 * width, 4 * width, 8 * width)
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            layers.append(nn.BatchNorm2d(outputs, affine=not scale_invariant))
            layers.append(nn.ReLU())
            if number > 0:
                layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8 * width, classes)]
    network = nn.Sequential(*layers)
    if scale_invariant:
        head = network[-1]
        head.weight.requires_grad_(False).mul_(HEAD_NORM / head.weight.norm())
        head.bias.requires_grad_(False)
    return network


class PlainResNet18(nn.Module):
    """The pre-activation ResNet-18 as flat lists of layers; the last module is the head."""

    def __init__(self, channels: int, classes: int, width: int, scale_invariant: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.first, self.second = nn.ModuleList(), nn.ModuleList()
        self.normal_1, self.normal_2 = nn.ModuleList(), nn.ModuleList()
        self.shortcuts, self.normal_3 = nn.ModuleDict(), nn.ModuleDict()
        inputs = width
        for number, factor in enumerate((1, 1, 2, 2, 4, 4, 8, 8)):
            outputs, stride = factor * width, 2 if number in (2, 4, 6) else 1
            self.first.append(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False))
            self.second.append(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False))
            self.normal_1.append(nn.BatchNorm2d(inputs, affine=not scale_invariant))
            self.normal_2.append(nn.BatchNorm2d(outputs, affine=not scale_invariant))
            if stride == 2:
                key = str(number)
                self.shortcuts[key] = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
                self.normal_3[key] = nn.BatchNorm2d(inputs, affine=not scale_invariant)
            inputs = outputs
        self.last_normal = nn.BatchNorm2d(inputs, affine=not scale_invariant)
        self.head = nn.Linear(inputs, classes, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stream = self.stem(images)
        for number in range(8):
            active = self.normal_1[number](stream).clamp(min=0)
            inner = self.normal_2[number](self.first[number](active)).clamp(min=0)
            if (key := str(number)) in self.shortcuts:
                stream = self.shortcuts[key](self.normal_3[key](active))
            stream = stream + self.second[number](inner)
        return self.head(self.last_normal(stream).clamp(min=0).mean(dim=(2, 3)))


def plain_resnet18(
    channels: int, classes: int, width: int, scale_invariant: bool, seed: int
) -> PlainResNet18:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PlainResNet18(channels, classes, width, scale_invariant)
    if scale_invariant:
        head = network.head.weight
        head.requires_grad_(False).mul_(HEAD_NORM / head.norm())
    return network


PLAIN_NETWORKS = {"convnet": plain_network, "resnet18": plain_resnet18}


def convolutions(network: nn.Module) -> list[torch.Tensor]:
    return [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def normalised(images: np.ndarray) -> torch.Tensor:
    return torch.tensor((images.astype(np.float64) - MEAN) / STD)


def smoothed_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float
) -> torch.Tensor:
    if not smoothing:
        return functional.cross_entropy(logits, labels)
    targets = (1 - smoothing) * functional.one_hot(labels, CLASSES).double() + smoothing / CLASSES
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def cropped_and_flipped(images: np.ndarray, seed: int, epoch: int, padding: int) -> np.ndarray:
    """All images (uint8) in stored order, as an epoch sees them; the border is black."""
    draws = np.random.default_rng(np.random.SeedSequence((seed, epoch), spawn_key=(1,)))
    tops, lefts = draws.integers(0, 2 * padding + 1, (2, len(images)))
    mirrored = draws.integers(0, 2, len(images))
    height, width = images.shape[2:]
    found = []
    for image, top, left, mirror in zip(images, tops, lefts, mirrored, strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        crop = padded[:, top : top + height, left : left + width]
        found.append(crop[:, :, ::-1] if mirror else crop)
    return np.stack(found)


def reference_curves(settings: Settings, epochs: int) -> Curves:
    """Train on `few_digits` in float64, batch by batch."""
    arrays = few_digits()
    train_images, test_images = normalised(arrays[0]), normalised(arrays[2])
    train_labels, test_labels = (torch.tensor(arrays[n].astype(np.int64)) for n in (1, 3))

    network = PLAIN_NETWORKS[settings.model](
        train_images.shape[1], CLASSES, settings.width, settings.scale_invariant, settings.seed
    ).double()
    weights = convolutions(network)
    optimiser = plain_optimiser(network, settings)
    project(weights, settings.norm)
    curves = Curves()
    measured = train_images, train_labels, settings, test_images, test_labels
    curves.metrics.append(metrics(network, *measured))
    curves.states.append(state(network, optimiser))
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, epoch)
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(train_labels))
        if settings.full_batch:
            order = np.arange(len(train_labels))
        images = train_images
        if settings.padding is not None:
            drawn = settings.seed, epoch, settings.padding
            images = normalised(cropped_and_flipped(arrays[0], *drawn))
        images = images[order]
        rows, layers = [], []
        network.train()
        starts = range(0, len(order), settings.batch_size)
        for positions in [starts] if settings.full_batch else [[start] for start in starts]:
            batches = [slice(start, start + settings.batch_size) for start in positions]
            # BatchNorm takes each mini-batch by itself; the loss is that of all images alike.
            logits = torch.cat([network(images[batch]) for batch in batches])
            labels = torch.cat([train_labels[order[batch]] for batch in batches])
            loss = smoothed_cross_entropy(logits, labels, settings.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            before = arrays_of(weights)
            gradients = arrays_of([weight.grad for weight in weights])
            velocities = velocities_of(optimiser, weights)
            optimiser.step()
            project(weights, settings.norm)
            after = arrays_of(weights)
            whole, whole_after = joined(before), joined(after)
            cosine = whole @ whole_after / (np.linalg.norm(whole) * np.linalg.norm(whole_after))
            norms = np.linalg.norm(joined(gradients)), np.linalg.norm(whole)
            rows.append((loss.item(), *norms, 1 - cosine))
            layers.append(
                [
                    (np.linalg.norm(w), np.linalg.norm(g), angle(w, new), float((v * g).sum()))
                    for w, new, g, v in zip(before, after, gradients, velocities, strict=True)
                ]
            )
        curves.steps.append(np.array(rows))
        curves.layers.append(np.array(layers))
        curves.metrics.append(metrics(network, *measured))
        curves.states.append(state(network, optimiser))
    return curves


def plain_optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """PyTorch's own optimiser, with a parameter group for each group of `Settings.undecayed`."""
    groups: dict[str, list[nn.Parameter]] = {}
    for module in network.modules():
        kind = {nn.Conv2d: "scale_invariant", nn.BatchNorm2d: "normalisation"}
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad:
                groups.setdefault(kind.get(type(module), "other"), []).append(parameter)
    described = [
        {
            "params": parameters,
            "weight_decay": 0.0 if name in settings.undecayed else settings.weight_decay,
        }
        for name, parameters in groups.items()
    ]
    if settings.optimiser == "adam":
        return torch.optim.Adam(described, lr=settings.learning_rate)
    return torch.optim.SGD(described, lr=settings.learning_rate, momentum=settings.momentum)


def learning_rate(settings: Settings, epoch: int) -> float:
    rate = settings.learning_rate / 10 ** sum(epoch >= m for m in settings.milestones)
    if settings.cosine_horizon is not None:
        rate *= (1 + math.cos(math.pi * min(epoch / settings.cosine_horizon, 1))) / 2
    return rate


def velocities_of(
    optimiser: torch.optim.Optimizer, weights: list[torch.Tensor]
) -> list[np.ndarray]:
    """The velocities, which are zero before the first step and without momentum."""
    kept = [optimiser.state[weight].get("momentum_buffer") for weight in weights]
    return [
        np.zeros(weight.shape) if velocity is None else velocity.numpy().copy()
        for weight, velocity in zip(weights, kept, strict=True)
    ]


def angle(one: np.ndarray, other: np.ndarray) -> float:
    """The angle between two vectors in radians, by Kahan's formula, exact for small angles too."""
    one, other = one.ravel() / np.linalg.norm(one), other.ravel() / np.linalg.norm(other)
    return 2 * math.atan2(np.linalg.norm(one - other), np.linalg.norm(one + other))


def state(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, list[np.ndarray]]:
    """Trained parameters, BatchNorm's statistics, and what the optimiser keeps of each."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    found = {
        "trained": arrays_of(trained),
        "statistics": [b.numpy().copy() for b in network.buffers() if b.is_floating_point()],
    }
    kept = {name for parameter in trained for name in optimiser.state[parameter]}
    for name in kept:
        values = [optimiser.state[parameter][name] for parameter in trained]
        found[name] = [value.numpy().copy() for value in values if value is not None]
    return found


def project(weights: list[torch.Tensor], norm: float | None) -> None:
    if norm is not None:
        factor = norm / np.linalg.norm(joined(arrays_of(weights)))
        with torch.no_grad():
            for weight in weights:
                weight.mul_(factor)


def arrays_of(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    """Copies."""
    return [tensor.detach().numpy().astype(np.float64) for tensor in tensors]


def joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def metrics(
    network: nn.Module,
    train_images: torch.Tensor,
    train_labels: torch.Tensor,
    settings: Settings,
    test_images: torch.Tensor,
    test_labels: torch.Tensor,
) -> dict[str, float]:
    """Compute the metrics on copies, so that BatchNorm keeps its running statistics."""
    in_eval_mode, network = copy.deepcopy(network).eval(), copy.deepcopy(network).train()
    weights = convolutions(network)
    others = [p for p in network.parameters() if p.requires_grad and p.dim() != 4]
    losses, wrong, norms, full_norms = 0.0, 0, [], []
    for start in range(0, len(train_labels), settings.batch_size):
        images = train_images[start : start + settings.batch_size]
        labels = train_labels[start : start + settings.batch_size]
        logits = network(images)
        loss = smoothed_cross_entropy(logits, labels, settings.label_smoothing)
        gradients = arrays_of(list(torch.autograd.grad(loss, [*weights, *others])))
        norms.append(np.linalg.norm(joined(gradients[: len(weights)])))
        full_norms.append(np.linalg.norm(joined(gradients)))
        losses += loss.item() * len(labels)
        wrong += int((logits.argmax(1) != labels).sum())
    with torch.no_grad():
        logits = in_eval_mode(test_images)
    return {
        "train_loss": losses / len(train_labels),
        "train_error": wrong / len(train_labels),
        "gradient_norm": float(np.mean(norms)),
        "full_gradient_norm": float(np.mean(full_norms)),
        "weight_norm": float(np.linalg.norm(joined(arrays_of(weights)))),
        "test_loss": functional.cross_entropy(logits, test_labels).item(),
        "test_error": float((logits.argmax(1) != test_labels).double().mean()),
    }


def write_golden_file(names: list[str]) -> None:
    """Compute the curves of some settings again; the others stay as they are."""
    golden = json.loads(GOLDEN_FILE.read_text())
    for name in names:
        steps = np.concatenate(reference_curves(GOLDEN_SETTINGS[name], GOLDEN_EPOCHS).steps)
        golden[name] = dict(zip(STEP_QUANTITIES, steps.T.tolist(), strict=True))
    GOLDEN_FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_golden_file(sys.argv[1:])

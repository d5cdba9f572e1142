"""The ordinary way to train and measure, as most research code does it, on the same card.

A DataLoader with two workers, `torch.optim.SGD`, the loss read in every step, a checkpoint an
epoch, and the metrics by a pass over the training set and one over the test set. It is spared what
an ordinary program pays besides: PIL images, and a pass of its own for the gradient norm.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from card.runs import Size, spec_of
from perigee import registry
from perigee.data.arrays import ArrayDataset, ArraySplit

WORKERS = 2


class NormalisedImages(Dataset[tuple[Tensor, int]]):
    """Images that become tensors and are normalised on every access.

    Args:
        split: the images.
        means, stds: per channel, in grey levels.
    """

    def __init__(
        self, split: ArraySplit, means: tuple[float, ...], stds: tuple[float, ...]
    ) -> None:
        self.images, self.labels = torch.from_numpy(split.images), split.labels.tolist()
        self.means, self.stds = (
            torch.tensor(means)[:, None, None],
            torch.tensor(stds)[:, None, None],
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (self.images[index].float() - self.means) / self.stds, self.labels[index]


class OrdinaryWay:
    """Training and measuring one network.

    Args:
        network, size: see `card.runs.spec_of`.
        precision: "float32" or "tf32", which is PyTorch's default on GPUs.
        dataset: the images.
        device: where to compute.
        folder: the folder for checkpoints.
    """

    def __init__(
        self,
        network: str,
        precision: str,
        dataset: ArrayDataset,
        device: str,
        size: Size,
        folder: Path,
    ) -> None:
        spec = spec_of(network, precision, size)
        self.device, self.folder = torch.device(device), folder
        # PyTorch's own settings, but for the precision: `prepare` made others in this process. (Of
        # convolutions alone: matrix products are in float32 by default.)
        torch.set_deterministic_debug_mode("default")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"

        def loader(split: str, shuffle: bool) -> DataLoader[tuple[Tensor, int]]:
            images = NormalisedImages(
                dataset.splits[split], dataset.channel_means, dataset.channel_stds
            )
            pinned = self.device.type == "cuda"
            return DataLoader(
                images, size.batch, shuffle=shuffle, num_workers=WORKERS, pin_memory=pinned
            )

        self.train_loader = loader("train", shuffle=True)
        self.test_loader = loader("test", shuffle=False)
        build = registry.load(spec.model)
        self.model: nn.Module = build(
            dataset.image_shape, dataset.classes, spec.seed, **spec.model.parameters
        ).to(self.device)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        rule = spec.optimiser.parameters
        self.optimiser = torch.optim.SGD(
            self.trained, lr=rule["learning_rate"], weight_decay=rule["weight_decay"]
        )

    def epoch(self) -> dict[str, float]:
        """Train for an epoch, write a checkpoint, and measure."""
        self.model.train()
        running = 0.0
        for images, labels in self.train_loader:
            running += self.step(images, labels)
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save(state, self.folder / "checkpoint.pt")
        return {**self.test_metrics(), **self.train_metrics()}

    def step(self, images: Tensor, labels: Tensor) -> float:
        """Train on a mini-batch, in the mode that is set; return its loss."""
        self.optimiser.zero_grad()
        loss, _ = self._loss(images, labels)
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def train_metrics(self) -> dict[str, float]:
        """Loss, error and mean gradient norm over the training set, in training mode."""
        loss_sum, errors, norm_sum = 0.0, 0, 0.0
        for images, labels in self.train_loader:
            self.model.zero_grad()
            loss, wrong = self._loss(images, labels)
            loss.backward()
            gradients = [p.grad.flatten() for p in self.trained if p.grad is not None]
            norm_sum += torch.cat(gradients).norm().item()
            loss_sum += loss.item() * len(labels)
            errors += int(wrong.sum())
        images_seen = len(self.train_loader.dataset)  # type: ignore[arg-type]
        return {
            "train_loss": loss_sum / images_seen,
            "train_error": errors / images_seen,
            "gradient_norm": norm_sum / len(self.train_loader),
        }

    @torch.no_grad()
    def test_metrics(self) -> dict[str, float]:
        """Loss and error over the test set, in evaluation mode."""
        self.model.eval()
        loss_sum, errors = 0.0, 0
        for images, labels in self.test_loader:
            loss, wrong = self._loss(images, labels)
            loss_sum += loss.item() * len(labels)
            errors += int(wrong.sum())
        self.model.train()
        images_seen = len(self.test_loader.dataset)  # type: ignore[arg-type]
        return {"test_loss": loss_sum / images_seen, "test_error": errors / images_seen}

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, and whether each image is classified wrongly, on the device."""
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        logits = self.model(images)
        return functional.cross_entropy(logits, labels), logits.argmax(dim=1) != labels


def epoch(
    network: str, precision: str, dataset: ArrayDataset, device: str, size: Size
) -> dict[str, Any]:
    """The time of an epoch with metrics."""
    with tempfile.TemporaryDirectory() as folder:
        way = OrdinaryWay(network, precision, dataset, device, size, Path(folder))
        # CUDA and cuDNN set themselves up. Times do not depend on the weights, which this changes.
        way.step(*next(iter(way.train_loader)))
        way.test_metrics()
        began = time.perf_counter()
        way.epoch()
        seconds = time.perf_counter() - began
    return {"s per epoch with metrics": float(f"{seconds:.5g}"), "loader workers": WORKERS}

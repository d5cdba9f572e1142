"""The time of an epoch with all metrics: the library's way against the ordinary way.

Both train the scale-invariant ConvNet of periodic_fig3 on digits at laptop scale and measure train
loss, train error, mean gradient norm, test loss and test error after the epoch; an epoch of each
is timed in turns, in one process with one thread. The ordinary way is the one of most research
code: a DataLoader over PIL images with torchvision transforms, torch.optim.SGD, a checkpoint an
epoch, and metrics from the checkpoint that is read back. It shares the process, and so gains from
the memory allocator's settings that `perigee.kernel.execution.prepare` makes, which an ordinary
program would not have. Before timing, both must find the same metrics at the initialisation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, laptop_run, main, ratios, timed_alternately
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from perigee import registry
from perigee.blocks.measures import Metrics
from perigee.data.arrays import ArrayDataset
from perigee.data.building import build_dataset
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Trainer
from perigee.spec import RunSpec
from perigee.training.loop import train
from perigee.training.recording import Recorder

OURS, ORDINARY = "ours", "ordinary"
WARM_UP = 2
Loader = DataLoader[tuple[torch.Tensor, int]]
WHITE = 255
"""The grey level that ToTensor maps to 1."""


class TransformedImages(Dataset[tuple[torch.Tensor, int]]):
    """Images that become PIL images and are transformed on every access.

    This is how torchvision's own data sets work.

    Args:
        images: uint8, (images, 1, height, width).
        labels: (images,).
        transform: a map from a PIL image to a tensor.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, transform: transforms.Compose
    ) -> None:
        self.images = images[:, 0]
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class OrdinaryWay:
    """Training and measuring as most research code does it.

    Args:
        spec: a run of SGD with a constant learning rate and no constraint.
        dataset: the data set that the spec names.
        folder: the folder for the checkpoints.
    """

    def __init__(self, spec: RunSpec, dataset: ArrayDataset, folder: Path) -> None:
        self.spec, self.dataset, self.folder = spec, dataset, folder
        transform = transforms.Compose(
            [
                transforms.ToTensor(),
                transforms.Normalize(
                    [mean / WHITE for mean in dataset.channel_means],
                    [std / WHITE for std in dataset.channel_stds],
                ),
            ]
        )
        train, test = (
            TransformedImages(split.images, split.labels, transform)
            for split in (dataset.splits["train"], dataset.splits["test"])
        )
        self.train_loader = DataLoader(train, spec.batch_size, shuffle=True)
        self.stored_order_loader = DataLoader(train, spec.batch_size)
        self.test_loader = DataLoader(test, spec.batch_size)
        self.model = self.fresh_model()
        self.optimiser = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=spec.optimiser.learning_rate,
            weight_decay=spec.optimiser.weight_decay,
        )

    def fresh_model(self) -> nn.Module:
        """The network at its initialisation."""
        build_model = registry.load(self.spec.model)
        model: nn.Module = build_model(
            self.dataset.image_shape,
            self.dataset.classes,
            self.spec.seed,
            **self.spec.model.parameters,
        )
        return model

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for an epoch, save a checkpoint, measure it."""
        self.train()
        return self.measured(self.save_checkpoint(epoch + 1), self.train_loader)

    def train(self) -> float:
        """Pass once over the shuffled training set, and return the running mean of the loss."""
        self.model.train()
        loss_sum = 0.0
        for images, labels in self.train_loader:
            self.optimiser.zero_grad()
            loss = functional.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimiser.step()
            loss_sum += loss.item() * len(labels)
        return loss_sum / len(self.dataset.splits["train"])

    def save_checkpoint(self, epochs_done: int) -> Path:
        """Write network and optimiser to disk."""
        path = self.folder / f"checkpoint-{epochs_done}.pt"
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save(state | {"epoch": epochs_done}, path)
        return path

    def measured(self, checkpoint: Path, train_loader: Loader) -> dict[str, float]:
        """All metrics of a checkpoint."""
        model = self.fresh_model()
        model.load_state_dict(torch.load(checkpoint)["model"])
        # The test pass comes first: the others change this copy's running statistics.
        model.eval()
        test_loss, test_error = self.loss_and_error(model, self.test_loader)
        model.train()
        train_loss, train_error = self.loss_and_error(model, train_loader)
        return {
            "train_loss": train_loss,
            "train_error": train_error,
            "gradient_norm": self.gradient_norm(model, train_loader),
            "test_loss": test_loss,
            "test_error": test_error,
        }

    @staticmethod
    @torch.no_grad()
    def loss_and_error(model: nn.Module, loader: Loader) -> tuple[float, float]:
        """Mean cross-entropy and fraction of images classified wrongly."""
        loss_sum, errors, images_seen = 0.0, 0, 0
        for images, labels in loader:
            logits = model(images)
            loss_sum += functional.cross_entropy(logits, labels).item() * len(labels)
            errors += int((logits.argmax(dim=1) != labels).sum())
            images_seen += len(labels)
        return loss_sum / images_seen, errors / images_seen

    @staticmethod
    def gradient_norm(model: nn.Module, loader: Loader) -> float:
        """Mean over mini-batches of the norm of the trained weights' gradient."""
        trained = [p for p in model.parameters() if p.requires_grad]
        norms = []
        for images, labels in loader:
            model.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            norms.append(
                torch.cat([p.grad.flatten() for p in trained if p.grad is not None]).norm().item()
            )
        return float(np.mean(norms))


def require_equal_metrics(recorder: Recorder, ordinary: OrdinaryWay) -> None:
    """Stop if the two do not measure the same at the initialisation, mini-batch by mini-batch."""
    recorder.finish_epoch()
    ours = recorder.latest[Metrics.name]
    measured = ordinary.measured(ordinary.save_checkpoint(0), ordinary.stored_order_loader)
    for name, value in measured.items():
        np.testing.assert_allclose(value, ours[name], rtol=1e-4, err_msg=name)


def measure(repetitions: int) -> Report:
    spec = laptop_run()
    dataset = build_dataset(spec.dataset, Path("data"), download=False)
    trainer = Trainer(spec, dataset, prepare("cpu", spec.precision, dataset.image_shape))

    with tempfile.TemporaryDirectory() as folder:
        measures = {Metrics.name: registry.load(Metrics())(trainer)}
        recorder = Recorder(trainer, Path(folder), measures, 0)
        ordinary = OrdinaryWay(spec, dataset, Path(folder))
        require_equal_metrics(recorder, ordinary)

        def our_epoch(epoch: int) -> None:
            torch.use_deterministic_algorithms(True)
            recorder.epochs = epoch + 1
            train(trainer, recorder)

        def ordinary_epoch(epoch: int) -> None:
            # Ordinary code does not ask for deterministic kernels, so it need not pay for them.
            torch.use_deterministic_algorithms(False)
            ordinary.epoch(epoch)

        ways = {OURS: our_epoch, ORDINARY: ordinary_epoch}
        seconds = timed_alternately(ways, repetitions, WARM_UP)
    ratio = f"{ORDINARY} / {OURS}"
    return Report(
        figures={
            ratio: ratios(seconds[ORDINARY], seconds[OURS]),
            **{
                f"{way}: ms per epoch": Summary.of([1000 * s for s in found])
                for way, found in seconds.items()
            },
        },
        target=Target(ratio, ">=", 6),
        conditions={
            "threads": torch.get_num_threads(),
            "loader workers": ordinary.train_loader.num_workers,
            "run": spec.to_dict(),
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=40, measure=measure)

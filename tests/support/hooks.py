"""Changes that tests make to the programs: each hook runs in a program, before its own code.

`support.workspace.Workspace.hook` puts one into a workspace's program.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def hold(file: str, epoch: int) -> None:
    """Save a state after an epoch, and wait there while a file exists or until a signal comes."""
    from perigee.jobs.watching import RunWatch
    from perigee.training.recording import Recorder

    look = RunWatch.after_epoch

    def held(watch: RunWatch, recorder: Recorder) -> None:
        look(watch, recorder)
        if recorder.position.epoch == epoch and Path(file).exists():
            watch._save(recorder)
            while Path(file).exists() and not watch._stop:
                time.sleep(0.05)

    RunWatch.after_epoch = held


def fail(
    message: str,
    learning_rate: float | None = None,
    once: str | None = None,
    at_the_end: bool = False,
) -> None:
    """Let training fail, either only for runs with some learning rate, or once.

    Args:
        message: the message of the ValueError, or of the OSError if it fails once.
        learning_rate: the learning rate of runs that fail; None is any.
        once: a file that notes that it has failed.
        at_the_end: whether to fail when everything is written, and not before training.
    """
    from perigee.jobs.training import TrainingJob

    run = TrainingJob.run

    def failing(job: TrainingJob, *arguments: Any) -> None:
        if at_the_end:
            run(job, *arguments)
        if learning_rate in (None, job.spec.optimiser.learning_rate):
            if once is None:
                raise ValueError(message)
            if not Path(once).exists():
                Path(once).touch()
                raise OSError(message)
        if not at_the_end:
            run(job, *arguments)

    TrainingJob.run = failing


def pretend_gpus(uuids: list[str]) -> None:
    """Let PyTorch report GPUs, but compute on the CPU.

    Everything between, above all which job gets which GPU, is done by the program itself.
    """
    import torch

    from perigee.kernel import execution

    found = [SimpleNamespace(uuid=uuid) for uuid in uuids]
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: len(found)
    torch.cuda.get_device_properties = found.__getitem__
    torch.cuda.set_device = lambda device: None
    prepare = execution.prepare

    def on_the_cpu(device: str, *others: Any, **settings: Any) -> execution.Execution:
        assert device in {f"cuda:{number}" for number in range(len(found))}, device
        return prepare("cpu", *others, **settings)

    execution.prepare = on_the_cpu


def small_cifar(name: str, address: str, checksums: dict[str, str], **attributes: Any) -> None:
    """Give torchvision the address and the checksums of small files of a data set's format.

    Args:
        name: name of torchvision's class.
        address: address of the folder that the archive is downloaded from.
        checksums: MD5 of the archive and of the files in it.
        attributes: "archive", "train", "test", "meta": names of the files.
    """
    from torchvision import datasets

    replaced = getattr(datasets, name)
    replaced.url = f"{address}/{attributes['archive']}"
    replaced.tgz_md5 = checksums[attributes["archive"]]
    replaced.train_list = [[file, checksums[file]] for file in attributes["train"]]
    replaced.test_list = [[attributes["test"], checksums[attributes["test"]]]]
    replaced.meta = {**replaced.meta, "md5": checksums[attributes["meta"]]}


def small_fashion_mnist(checksums: dict[str, str]) -> None:
    """Expect small files in the place of Fashion-MNIST's, and none of Debian's package.

    Args:
        checksums: SHA-256 of the files' contents, by name.
    """
    from perigee.data import fashion_mnist

    fashion_mnist.SHA256 = checksums
    fashion_mnist.DEBIAN = Path("no such folder")


def declare_wrongly(weight: str) -> None:
    """Make the ConvNet declare a weight scale-invariant that is not."""
    from perigee.models import convnet
    from perigee.models.declaration import ScaleInvariantWeights

    build = convnet.build

    def wrong(*arguments: Any, **parameters: Any) -> Any:
        model = build(*arguments, **parameters)
        declared = model.scale_invariant_weights
        model.scale_invariant_weights = ScaleInvariantWeights(
            (*declared.names, weight), declared.by_filter
        )
        return model

    convnet.build = wrong


def note_environment(file: str) -> None:
    """Write this process's environment to a file, whose name may hold "{pid}"."""
    import os

    lines = [f"{name}={value}" for name, value in os.environ.items()]
    Path(file.format(pid=os.getpid())).write_text("\n".join(lines))

"""Predict the test set with every kept checkpoint of a run."""

import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from perigee.checkpoints import Trajectory
from perigee.cli import Digest, LogFile, RunsPerGpu, program, require_digest
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError
from perigee.evaluation.predictions import checkpoint_probabilities, write_probabilities
from perigee.gpus import own_gpu
from perigee.identity.products import predictions_identity
from perigee.spec import RunSpec
from perigee.store.datasets import DATA
from perigee.store.predictions import PREDICTIONS, write_labels_and_epochs
from perigee.store.provenance import read_product
from perigee.store.trajectories import TRAJECTORY_FILES
from perigee.store.writing import product_writer
from perigee.training.execution import prepare

logger = logging.getLogger("perigee")


@program
def main(
    run: Annotated[Path, typer.Option(help="Folder of the run: .../<run>/e<epochs>-every<K>.")],
    dataset: Annotated[Path, typer.Option(help="Folder of its data set (build_dataset.py).")],
    out: Annotated[Path, typer.Option(help="Folder that gets predictions.npy and the rest.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    runs_per_gpu: RunsPerGpu = 1,
    progress_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines.")
    ] = 10.0,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Predict the test set with every kept checkpoint of a run.

    Softmax probabilities in eval mode, with the BatchNorm statistics of each checkpoint.
    """
    trained = read_product(run, TRAJECTORY_FILES)
    spec = RunSpec.from_dict(trained.spec)
    details = trained.details
    identity = predictions_identity(
        trained.name, trained.digest, spec.model, details["epochs"], details["keep_every"]
    )
    require_digest(identity, digest)
    found = read_product(dataset, [DATA]).digest
    if found != trained.inputs["dataset"]:
        raise PerigeeError(
            f"{dataset} holds the data set {found}, but the run was trained on "
            f"{trained.inputs['dataset']}; give that one's folder."
        )
    data = ArrayDataset.load(dataset / DATA)
    trajectory = Trajectory.of_run(run)
    shape = (len(trajectory.epochs), len(data.test_labels), data.classes)
    last_line = time.monotonic()

    def tell(checkpoints: int) -> None:
        nonlocal last_line
        if checkpoints == shape[0] or time.monotonic() - last_line >= progress_interval:
            last_line = time.monotonic()
            logger.info("%s: checkpoint %d/%d predicted", trained.name, checkpoints, shape[0])

    with (
        own_gpu(device, runs_per_gpu) as own,
        product_writer(out, identity, epochs=details["epochs"], seed=spec.seed) as product,
    ):
        execution = prepare(own, spec.precision, data.image_shape)
        probabilities = checkpoint_probabilities(spec, data, execution, trajectory)
        write_probabilities(product.aside / PREDICTIONS, probabilities, shape, tell)
        write_labels_and_epochs(product.aside, data.test_labels, trajectory.epochs)


if __name__ == "__main__":
    main()

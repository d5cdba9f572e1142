"""A run that is killed and goes on from the state it saved, against one that is left alone.

Run as a program it is such a run: it saves the kernel's whole state every few steps, says how many
it has taken, and goes on from what it finds saved. The files of a training job need packages that
may be missing here, and are not tried.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from card.children import Child, children
from card.runs import CAPTURED, Size, random_images, require_captured, spec_of, trainer_of
from perigee.kernel.trainer import Moment
from perigee.training.recording import weights_digest

NETWORK, BATCHES, EPOCHS, SAVED_EVERY = "convnet-32", 8, 6, 5
KILLED_AFTER = (2, 5)
"""How many saves the run says it has made when it is killed, the first time and the second."""
START_S = 120
GO_ON = "go on"
"""The line that a run waits for after each save, so that it is known where it can be."""


def killed_and_resumed(device: str, size: Size) -> dict[str, Any]:
    """Train a run that is left alone, and the same killed twice; compare the weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def told(state: str) -> str:
            given = {"device": device, "size": asdict(size), "state": str(folder / state)}
            return json.dumps(given)

        resumed_at = []
        with children(1, "card.resuming", told("alone.pt")) as (alone,):
            for saves in KILLED_AFTER:
                with children(1, "card.resuming", told("killed.pt")) as (killed,):
                    resumed_at.append(int(killed.hear(START_S)))
                    for _ in range(saves):
                        killed.hear(START_S)
                        killed.tell(GO_ON)
                    # On its way to the next save, where it would wait: it cannot end before.
                    killed.process.kill()
            with children(1, "card.resuming", told("killed.pt")) as (last,):
                resumed_at.append(int(last.hear(START_S)))
                ours = _end_of(last)
            alone.hear(START_S)
            theirs = _end_of(alone)
    return {
        "same bits": {"weights": ours == theirs},
        "went on after steps": resumed_at[1:],
        "steps": EPOCHS * BATCHES,
    }


def _end_of(child: Child) -> str:
    """The digest that a run says at its end."""
    while (heard := child.hear(START_S)).isdecimal():
        child.tell(GO_ON)
    return heard


def main(told: str) -> None:
    """Be one of the runs: say the steps taken at the start and at each save, then the digest.

    After each save the run waits for a line, and ends if there is none.
    """
    given = json.loads(told)
    size, path = Size(**given["size"]), Path(given["state"])
    images = random_images((BATCHES - 1) * size.batch + size.batch // 2, size.batch)
    trainer = trainer_of(spec_of(NETWORK, "float32", size), images, given["device"], CAPTURED)
    taken = 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        trainer.restore(saved["state"])
        taken = saved["taken"]
    print(taken, flush=True)
    while taken < EPOCHS * BATCHES:
        for moment in trainer.epoch(taken // BATCHES, taken % BATCHES):
            if moment is not Moment.STEP:
                continue
            taken += 1
            if taken % SAVED_EVERY == 0:
                aside = path.with_suffix(".unfinished")
                torch.save({"state": trainer.state(), "taken": taken}, aside)
                aside.replace(path)
                print(taken, flush=True)
                if not sys.stdin.readline():
                    return
    if trainer.execution.device.type == "cuda":
        require_captured(trainer, CAPTURED)
    print(f"weights {weights_digest(trainer).decode()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

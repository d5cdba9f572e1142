"""Run a program of the project as if this machine had GPUs.

on_pretend_gpus.py UUID,UUID,... PROGRAM ARGUMENT...

PyTorch reports these GPUs, and what is to be computed on one is computed on the CPU. Everything
between, above all who gets which, is the program's own.
"""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

import torch

from perigee.training import execution


def main() -> None:
    uuids, program, *arguments = sys.argv[1:]
    found = [SimpleNamespace(uuid=uuid) for uuid in uuids.split(",")]
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: len(found)
    torch.cuda.get_device_properties = found.__getitem__
    torch.cuda.set_device = lambda device: None
    prepare = execution.prepare

    def on_the_cpu(device: str, *others: object) -> execution.Execution:
        assert device in {f"cuda:{number}" for number in range(len(found))}, device
        return prepare("cpu", *others)

    execution.prepare = on_the_cpu
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()

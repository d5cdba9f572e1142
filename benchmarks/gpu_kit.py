"""Make the kit with which benchmarks/gpu.py and gpu_figure.py run where Perigee is not installed.

On that machine torch and numpy are enough, for gpu_figure.py with pandas, pyarrow and matplotlib,
and no network is needed. The kit is the folder `gpu_kit` of this project. It holds what they need
besides: pydantic for some versions of Python, and the plans of the runs that they time and train.
It is made in the project's environment, with a network, and copied to that machine's copy of the
project:

    python benchmarks/gpu_kit.py
    python benchmarks/gpu_kit.py --python 3.12 --machine aarch64
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from typing import Any

from card.kit import FETCHED, KIT, folder_for

from perigee.planning.kinds import kinds_of
from perigee.planning.plan import make_plan, read_requests
from perigee.store.provenance import git_state

PYTHONS = ("3.11", "3.12", "3.13")
"""Versions of Python for which packages are fetched by default."""
MACHINES = {"arm64": "aarch64", "AMD64": "x86_64"}
"""Linux's names of processors that other systems name otherwise."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""The Linux systems whose wheels will do, with PyTorch's own requirement first."""

PAPER, SCALE = "periodic", "paper"
FIGURE, SCALE_OF_FIGURE = "periodic_fig3", "workstation"
IMAGES = {"cifar10": ((3, 32, 32), 10), "cifar100": ((3, 32, 32), 100)}
"""The shape of images and the number of classes, which plans do not know, of the data sets of
`PAPER` at `SCALE`."""
TEST_IMAGES = 10000
"""The number of test images in each of these."""


def kinds() -> dict[str, Any]:
    """The kinds of runs of the paper, those of most steps first, for `gpu.py --kinds`."""
    found = kinds_of(make_plan([PAPER], SCALE).of_papers.runs.values())
    found.sort(key=lambda kind: -kind.steps)
    all_kinds = []
    for number, kind in enumerate(found, start=1):
        told = kind.told(Path())
        del told["dataset"]
        dataset = kind.run.spec.dataset
        shape, classes = IMAGES[dataset.name]
        images = {"train": dataset.train_images, "test": TEST_IMAGES}
        # Kinds may share the name of the run that stands for them.
        name = f"{number:02d} {told['name']}"
        all_kinds.append({**told, "name": name, "shape": shape, "classes": classes, **images})
    return {"paper": PAPER, "scale": SCALE, "kinds": all_kinds}


def figure() -> dict[str, Any]:
    """The runs of the figure as they are planned, the first seed first, for `gpu_figure.py`."""
    _, requests = read_requests([PAPER], SCALE_OF_FIGURE)
    (wanted,) = (one for one in requests if one.key == FIGURE)
    (table,) = (one for one in wanted.tables if one.name == "runs")
    runs = [
        {"spec": one.spec.to_dict(), "epochs": one.epochs, "swept": dict(one.swept)}
        for one in table.runs
    ]
    runs.sort(key=lambda one: one["swept"]["seed"])
    return {"figure": FIGURE, "scale": SCALE_OF_FIGURE, "runs": runs}


def fetch(python: str, machine: str) -> bool:
    """Install this environment's version of pydantic in the kit, for another Python.

    Args:
        python: the version of Python, e.g. "3.12".
        machine: the processor, by Linux's name.

    Returns:
        Whether it could be had; if not, pip has said why.
    """
    folder = folder_for(python, machine)
    aside = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(aside), "--no-compile", "--only-binary", ":all:"),
            *("--implementation", "cp", "--python-version", python),
            *(part for one in PLATFORMS for part in ("--platform", f"{one}_{machine}")),
            f"{FETCHED}=={version(FETCHED)}",
        ],
        check=False,
    )
    if done.returncode:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return True


def version_of_python(text: str) -> str:
    """A version that Perigee runs on, as an argument.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    if not re.fullmatch(r"3\.\d+", text) or int(text[2:]) < 11:
        raise argparse.ArgumentTypeError(f"'{text}' is not a version such as 3.12, from 3.11 on")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python",
        nargs="*",
        type=version_of_python,
        default=PYTHONS,
        metavar="VERSION",
        help=f"versions of Python over there; default: {' '.join(PYTHONS)}; nothing: plans alone",
    )
    here = platform.machine()
    parser.add_argument(
        "--machine", default=MACHINES.get(here, here), help="its processor; default: %(default)s"
    )
    given = parser.parse_args()
    KIT.mkdir(exist_ok=True)
    with chdir(KIT.parent):  # configuration is looked for in the working folder
        plans = {"kinds": kinds(), "figure": figure()}
    for name, plan in plans.items():
        text = json.dumps({"git": git_state(), **plan}, indent=1)
        (KIT / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    if missing := [python for python in given.python if not fetch(python, given.machine)]:
        told = ", ".join(missing)
        sys.exit(
            f"{FETCHED} for Python {told} on {given.machine} cannot be had; pip says why above."
        )
    print(f"The kit is made: {KIT}")


if __name__ == "__main__":
    main()

"""Make the kit with which benchmarks/gpu.py and gpu_figure.py run where Perigee is not installed.

The machine needs torch, numpy, pandas, pyarrow and matplotlib alone, and no network. The kit,
`gpu_kit/`, holds what they need besides: pydantic for some versions of Python, and the runs
that they time and train. Made in the project's environment, with a network, it is copied there with
the rest of the project:

    python benchmarks/gpu_kit.py
    python benchmarks/gpu_kit.py --python 3.12 --machine aarch64
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from typing import Any

from card.packages import KIT, folder_for
from gpu_figure import FIGURE, RATE, ROOT
from gpu_figure import SCALE as SCALE_OF_FIGURE

from perigee.planning.kinds import kinds_of
from perigee.planning.plan import make_plan, read_requests

PYTHONS = ("3.11", "3.12", "3.13")
"""Versions of Python for which pydantic is fetched by default."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""The Linux systems whose wheels will do, with PyTorch's own requirement first."""

PAPER, SCALE = "periodic", "paper"
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
    runs.sort(key=lambda one: (one["swept"]["seed"], one["swept"][RATE]))
    return {"figure": FIGURE, "scale": SCALE_OF_FIGURE, "runs": runs}


def fetch_pydantic(kit: Path, python: str, machine: str) -> None:
    """Install this environment's version of pydantic in the kit, for another Python.

    Args:
        kit: the kit's folder.
        python: the version of Python, e.g. "3.12".
        machine: as `platform.machine` says it.

    Raises:
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", folder_for(kit, python, machine), "--upgrade", "--no-compile"),
            *("--only-binary", ":all:", "--implementation", "cp", "--python-version", python),
            *(part for one in PLATFORMS for part in ("--platform", f"{one}_{machine}")),
            f"pydantic=={version('pydantic')}",
        ],
        check=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=KIT, help="default: gpu_kit")
    parser.add_argument(
        "--python",
        nargs="+",
        default=PYTHONS,
        metavar="VERSION",
        help=f"versions of Python over there; default: {' '.join(PYTHONS)}",
    )
    parser.add_argument(
        "--machine", default=platform.machine(), help="its processor; default: %(default)s"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for python in given.python:
        try:
            fetch_pydantic(given.out, python, given.machine)
        except subprocess.CalledProcessError as error:
            sys.exit(f"pydantic for Python {python} on {given.machine} cannot be had: {error}")
    with chdir(ROOT):  # configuration is looked for in the working folder
        plans = {"kinds": kinds(), "figure": figure()}
    for name, content in plans.items():
        told = json.dumps(content, indent=1)
        (given.out / f"{name}.json").write_text(f"{told}\n", encoding="utf-8")
    print(f"The kit is made: {given.out}")


if __name__ == "__main__":
    main()

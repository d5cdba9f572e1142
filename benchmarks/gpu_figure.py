"""Train as much of periodic_fig3 at the scale `workstation` as some minutes on a GPU give.

Runs are trained side by side on the card, through CUDA MPS where that can be had, each a process of
its own; the runs of the first seed come first. When the time is over each saves its state, and what
there is comes home: the metrics of all epochs (parquet and CSV), a picture, and how far each run
came. A later start with the same folder goes on from there. With the kit that `gpu_kit.py` makes,
which has the runs as they are planned, it needs torch, numpy, pandas, pyarrow and matplotlib alone.

    python benchmarks/gpu_figure.py --fashion-mnist data/fashion_mnist --minutes 6 --out figure
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]

from card.kit import KIT, read_plan, require  # noqa: E402

require("torch", "numpy", "pandas", "pyarrow", "matplotlib")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from card.children import Child  # noqa: E402
from card.document import card  # noqa: E402
from card.figure_run import METRICS, STATE  # noqa: E402
from card.images import fashion_mnist_in, save  # noqa: E402
from card.sharing import through_mps  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from perigee import mps  # noqa: E402
from perigee.store.provenance import git_state  # noqa: E402

RATE = "optimiser.learning_rate"
PANELS = ("train_loss", "test_error", "weight_norm", "effective_learning_rate")
AT_ONCE = 4
"""Runs at once: those of the four learning rates. More gain little (docs/gpus.md)."""
LOOK_EVERY_S = 60
"""Seconds between tables and pictures of what there is, in case this program is killed."""
RESERVED_S = 25
"""The part of the time that is kept for saving, the tables and the picture."""

Run = Mapping[str, Any]


def name_of(run: Run) -> str:
    """The name of the run's folder."""
    return f"lr{run['swept'][RATE]:g}-seed{run['swept']['seed']}"


def train(
    runs: Sequence[Run],
    images: Path,
    out: Path,
    device: str,
    at_once: int,
    deadline: float,
    look: Callable[[], object],
) -> list[str]:
    """Train runs side by side until all are done or the time is over.

    Args:
        runs: in the order in which they are begun.
        images: see `card.images.save`.
        out: the folder of the runs' folders.
        device: where to compute.
        at_once: how many at a time.
        deadline: when the runs save and end, by `time.time`.
        look: called every `LOOK_EVERY_S`, while runs are trained.

    Returns:
        The names of runs that ended with an error.
    """
    waiting, failed, looked = list(runs), [], time.time()
    going: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        environment: Mapping[str, str] = {}
        if device == "cuda" and at_once > 1:
            try:
                environment = stack.enter_context(through_mps())
            except mps.MPSError as error:
                print(f"runs share the card in time slices: {error}", flush=True)
        while going or (waiting and time.time() < deadline):
            while waiting and len(going) < at_once and time.time() < deadline:
                run = waiting.pop(0)
                told = {
                    **{key: run[key] for key in ("spec", "epochs")},
                    "images": str(images),
                    "folder": str(out / name_of(run)),
                    "device": device,
                    "deadline": deadline,
                }
                child = Child("card.figure_run", json.dumps(told), environment=environment)
                stack.callback(child.process.kill)
                going[name_of(run)] = child.process
            if time.time() > looked + LOOK_EVERY_S:
                looked = time.time()
                try:
                    look()
                except Exception as error:  # a full disk, say; the runs must go on
                    print(f"no tables and picture this time: {error}", flush=True)
            for name, process in list(going.items()):
                try:
                    if process.wait(0.2):
                        failed.append(name)
                    del going[name]
                except subprocess.TimeoutExpired:
                    if time.time() > deadline + RESERVED_S / 2:
                        process.kill()
    return failed


def table_of(runs: Sequence[Run], out: Path) -> pd.DataFrame:
    """The metrics of all epochs that were trained, with the settings by which runs differ."""
    parts = []
    for run in runs:
        path = out / name_of(run) / METRICS
        if path.exists():
            rows = pd.DataFrame(np.load(path))
            parts.append(rows.assign(**run["swept"], planned_epochs=run["epochs"]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def picture_of(table: pd.DataFrame, runs: Sequence[Run], title: str) -> Figure:
    """Metrics over epochs in the runs of the first seed, a line a learning rate."""
    seed = runs[0]["swept"]["seed"]
    shown = table[table["seed"] == seed]
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, column in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for rate, rows in shown.groupby(RATE):
            axes.plot(rows["epoch"], rows[column], linewidth=0.9, label=f"{rate:g}")
        axes.set(xlabel="epoch", ylabel=column.replace("_", " "), yscale="log")
    axes.legend(title="learning rate", fontsize="small")
    reached = shown.groupby(RATE)["epoch"].max()
    planned = runs[0]["epochs"]
    told = "all epochs"
    if len(reached) < len({run["swept"][RATE] for run in runs}) or reached.min() < planned:
        told = f"UNFINISHED: {', '.join(map(str, reached))} of {planned} epochs, by learning rate"
    figure.suptitle(f"{title}, seed {seed}\n{told}")
    return figure


def bring_home(runs: Sequence[Run], out: Path, told: Mapping[str, Any]) -> None:
    """Write tables, picture, and how far each run came."""
    table = table_of(runs, out)
    reached = {}
    for run in runs:
        kept = out / name_of(run) / STATE
        if kept.exists():
            position = torch.load(kept, weights_only=True)["position"]
            reached[name_of(run)] = {
                "epochs": position["epoch"],
                "of": run["epochs"],
                "stopped_at_step": position["stopped_at_step"],
            }
    summary = {**told, **card(), "torch": torch.__version__, "runs": reached}
    aside = out / "unfinished"
    aside.mkdir(exist_ok=True)
    (aside / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if len(table):
        table.to_parquet(aside / "metrics.parquet")
        table.to_csv(aside / "metrics.csv", index=False, lineterminator="\n")
        title = f"{told['figure']}, scale {told['scale']}"
        picture_of(table, runs, title).savefig(aside / "figure.png", dpi=150)
    for path in list(aside.iterdir()):
        path.replace(out / path.name)
    aside.rmdir()


def main() -> None:
    began = time.time()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=KIT / "figure.json", help="default: gpu_kit/figure.json"
    )
    parser.add_argument(
        "--fashion-mnist", type=Path, required=True, help="the folder of its four files"
    )
    parser.add_argument("--minutes", type=float, default=6, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("gpu_figure"), help="default: %(default)s")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs; default: %(default)s")
    given = parser.parse_args()
    plan = read_plan(given.runs)
    runs = plan.pop("runs")
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # all that is open ends
    device = "cuda" if torch.cuda.is_available() else "cpu"
    given.out.mkdir(parents=True, exist_ok=True)
    deadline = began + 60 * given.minutes - RESERVED_S
    told = {"kit": plan.pop("git", None), "git": git_state(), **plan, "device": device}
    told |= {"minutes": given.minutes, "at_once": given.at_once}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        save(fashion_mnist_in(given.fashion_mnist), images)
        look = partial(bring_home, runs, given.out, told)
        failed = train(runs, images, given.out, device, given.at_once, deadline, look)
    bring_home(runs, given.out, {**told, "failed": failed})
    print(f"{given.out}: {(given.out / 'summary.json').read_text(encoding='utf-8')}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()

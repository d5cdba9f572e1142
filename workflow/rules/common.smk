"""What all rules share: the checked configuration, the plan, and look-ups in it.

In: config/ (merged by Snakemake). Out: `plan`, which names every product of the chosen scale, and
functions that give a rule the part that concerns it. A wrong configuration ends here, in one
sentence, before any job.
"""

import os
import sys
from pathlib import Path

# This checkout's library, here and in every job, whatever is installed.
os.environ["PYTHONPATH"] = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, os.environ["PYTHONPATH"])

from perigee.errors import PerigeeError
from perigee.identity.canonical import canonical_json
from perigee.plan import checked_configuration, make_plan
from perigee.store.checks import check_datasets, check_writable
from perigee.store.figures import is_published, outdated_notice
from perigee.store.runs import TABLES, planned_read_offs

CONDA = "../../envs/perigee.yaml"
PROVENANCE = "provenance.json"

try:
    settings = checked_configuration(config)
    plan = make_plan(settings["papers"], settings["scale"])
    check_writable(Path(settings["results"]))
    if workflow.is_main_process:
        check_datasets(Path(settings["results"]) / "store", plan.datasets)
except PerigeeError as error:
    sys.exit(f"Error: {error}")

RESULTS = settings["results"]
STORE = f"{RESULTS}/store"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
PUBLISHED = f"{RESULTS}/{settings['scale']}/figures"
SUFFIXES = ("pdf", "png", "csv", "ipynb")

READ_OFF = planned_read_offs(Path(STORE), plan.runs)
"""Runs that a longer version of the same run makes superfluous to train: folder -> its folder."""


wildcard_constraints:
    name=r"[^/]+-[0-9a-f]{16}",
    version=r"[^/]+-[0-9a-f]{16}/e[0-9]+",
    key="|".join(plan.figures),


def stored(folder, *files):
    """Paths of a product's files; its provenance, which is written last, is always one of them."""
    return [f"{STORE}/{folder}/{file}" for file in (*files, PROVENANCE)]


def published(keys):
    """The four files of each figure under the name that outsiders use."""
    return [f"{PUBLISHED}/{key}.{suffix}" for key in keys for suffix in SUFFIXES]


def unless_made(outputs, inputs):
    """A job's inputs, or none if all its outputs are there.

    A path says all about what it holds, so what exists is up to date: no time stamp, no missing or
    remade input may make it run again.
    """
    return [] if all(map(os.path.exists, outputs)) else inputs

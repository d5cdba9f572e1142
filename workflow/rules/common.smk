"""What all rules share: the checked configuration, the plan, and where its products lie.

In: config/ (merged by Snakemake). Out: `plan`, which names every product of the chosen scale, and
`layout`, which gives a rule's wildcards their paths and arguments. A wrong configuration ends
here, in one sentence, before any job.
"""

import os
import sys
from pathlib import Path

# This checkout's library, here and in every job, whatever is installed.
LIBRARY = str(Path(workflow.basedir) / "workflow")
os.environ.update(PYTHONPATH=LIBRARY)
sys.path.insert(0, LIBRARY)

from perigee.errors import PerigeeError
from perigee.layout import (
    DATASET_FILES,
    FIGURE_FILES,
    RUN_FILES,
    TABLE_FILES,
    TRAINED_RUN_FILES,
    Layout,
)
from perigee.plan import checked_configuration, make_plan
from perigee.store.checks import check_datasets, check_writable

try:
    settings = checked_configuration(config)
    plan = make_plan(settings["papers"], settings["scale"])
    check_writable(Path(settings["results"]))
    if workflow.is_main_process:
        check_datasets(Path(settings["results"]) / "store", plan.datasets)
except PerigeeError as error:
    sys.exit(f"Error: {error}")

RESULTS = settings["results"]
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
CONDA = "../../envs/perigee.yaml"
layout = Layout(plan, RESULTS)


wildcard_constraints:
    name=r"[^/]+-[0-9a-f]{16}",
    version=r"[^/]+-[0-9a-f]{16}/e[0-9]+",
    key="|".join(plan.figures),

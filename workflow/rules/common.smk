"""What all rules share: the checked configuration, the plan, and where its products lie.

In: config/, and what --configfile and --config lay over it. Out: `plan`, which names every product of the chosen scale, and
`layout`, which gives a rule's wildcards their paths and arguments. A wrong configuration ends
here, in one sentence, before any job.
"""

import os
import re
import shlex
import sys
from pathlib import Path

# This checkout's library and this Python, here and in every job, whatever else is installed.
LIBRARY = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, LIBRARY)
for variable, folder in (
    ("PYTHONPATH", LIBRARY),
    ("PATH", str(Path(sys.executable).parent)),
):
    others = [f for f in os.environ.get(variable, "").split(os.pathsep) if f != folder]
    os.environ[variable] = os.pathsep.join(filter(None, [folder, *others]))

from perigee.configuration.settings import settings_of_workflow
from perigee.errors import PerigeeError
from perigee.failures import failed_jobs
from perigee.planning.forecast import retraining_warning
from perigee.planning.layout import NAME, VERSION, Layout
from perigee.planning.plan import make_plan
from perigee.store.checks import check_datasets, check_writable, earlier_products

try:
    # Read here and not by Snakemake, whose reader takes a key that stands twice, and 010 for 8.
    settings = settings_of_workflow(
        workflow.config_settings.configfiles, workflow.config_settings.config
    )
    plan = make_plan(settings["papers"], settings["scale"])
    if workflow.is_main_process and not workflow.output_settings.dryrun:
        check_writable(Path(settings["results"]))
    if workflow.is_main_process:
        check_datasets(Path(settings["results"]) / "store", plan.datasets)
except PerigeeError as error:
    sys.exit(f"Error: {error}")

# A shell that is told to stop waits for its program, which saves its state first.
shell.prefix("set -euo pipefail; trap : TERM; ")

RESULTS = settings["results"]
BENCHMARKS = f"{RESULTS}/benchmarks"
CONDA = "../../envs/perigee.yaml"
PLAN_OPTIONS = " ".join(
    [
        f"--scale {shlex.quote(settings['scale'])} --results {shlex.quote(RESULTS)}",
        *(f"--paper {paper}" for paper in settings["papers"]),
    ]
)
layout = Layout(plan, RESULTS)
LOGS = layout.logs
RECEIPTS = layout.receipts.folder

if workflow.is_main_process:
    told = (
        retraining_warning(layout, settings["warn_retraining_hours"]),
        earlier_products(Path(layout.store)),
    )
    for warning in filter(None, told):
        print(f"Warning: {warning}", file=sys.stderr)


def is_planning():
    """Whether `plan` is asked for: the targets beside it are then planned and not made."""
    return workflow.is_main_process and "plan" in workflow.dag_settings.targets


def published(name):
    """What a named target needs: the published figures it stands for."""
    return lambda w: [] if is_planning() else layout.published(layout.named[name])


def figures_to_plan():
    """Of the targets named beside `plan`; those of `everything` if there is none."""
    beside = sorted(set(workflow.dag_settings.targets) - {"plan"})
    unknown = [name for name in beside if name not in layout.named]
    if unknown:
        sys.exit(
            f"Error: 'plan' cannot plan '{unknown[0]}'; name figures or papers beside it."
        )
    return [key for name in beside or ["everything"] for key in layout.named[name]]


onerror:
    print(*failed_jobs("".join(Path(path).read_text() for path in log)), sep="\n")


wildcard_constraints:
    name=NAME,
    version=VERSION,
    key="|".join(plan.figures),
    n="[0-9]+",

"""What all rules share: the checked configuration, the plan, and where its products lie.

In: config/, and what --configfile and --config lay over it. Out: `plan`, which names every product of the chosen scale, and
`layout`, which gives a rule's wildcards their paths and arguments. A wrong configuration ends
here, in one sentence, before any job.
"""

import json
import os
import shlex
import sys
from pathlib import Path

# This Python, and a checkout's own library, here and in every job, whatever else is installed.
TREE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
LIBRARY = TREE / "workflow" if (TREE / "workflow/perigee").is_dir() else None
others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
sys.path.sort(key=lambda path: path in others)  # behind the environment's packages
if LIBRARY is not None:
    sys.path.insert(0, str(LIBRARY))

from perigee.configuration.own_blocks import register_own_blocks
from perigee.configuration.settings import read_settings
from perigee.errors import PerigeeError
from perigee.failures import failed_jobs
from perigee.paths import CARRIED, IS_INSTALLED, configuration_file
from perigee.planning.absent_images import tell_left_out
from perigee.planning.calibrations import calibrations_file, read_calibrations
from perigee.planning.layout import NAME, VERSION, Layout
from perigee.planning.notices import warnings_of
from perigee.planning.plan import make_plan
from perigee.planning.targets import PLANNING, not_a_target, targets_beside
from perigee.profiles import lost_configuration
from perigee.store.checks import check_datasets, check_results, check_writable
from perigee.store.housekeeping import note_project
from perigee.surroundings import environment_of_jobs, print_in_any_locale

print_in_any_locale()
os.environ.update(environment_of_jobs(LIBRARY))

try:
    if TREE.resolve() != CARRIED.resolve():
        raise PerigeeError(
            f"these rules are of {TREE}, but perigee is imported from {CARRIED}; "
            "set neither PYTHONPATH nor -s to the other one."
        )
    if workflow.is_main_process:
        if lost := lost_configuration(sys.argv, workflow.overwrite_configfiles):
            raise PerigeeError(lost)
    # Read here and not by Snakemake, whose reader takes a key that stands twice, and 010 for 8.
    settings = read_settings(
        [configuration_file(), *workflow.config_settings.configfiles],
        "--config",
        workflow.config_settings.config,
    )
    register_own_blocks(configuration_file(), settings)
    plan = make_plan(settings["papers"], settings["scale"], settings["seeds"])
    if workflow.is_main_process:
        check_results(Path(settings["results"]))
        check_datasets(Path(settings["results"]) / "store", plan.datasets)
        read_calibrations(calibrations_file(settings["results"]))
    if workflow.is_main_process and not workflow.output_settings.dryrun:
        check_writable(Path(settings["results"]))
        note_project(Path(settings["results"]))
except PerigeeError as error:
    sys.exit(f"Error: {error}")

# A shell that is told to stop waits for its program, which saves its state first.
shell.prefix("set -euo pipefail; trap : TERM HUP; ")

settings_file = os.environ.get("PERIGEE_SETTINGS")  # quickstart.py asks for them
if workflow.is_main_process and settings_file:
    asked = settings | {
        "folder": os.getcwd(),
        "cores": workflow.resource_settings.cores,
    }
    Path(settings_file).write_bytes(json.dumps(asked, default=str).encode())

RESULTS = settings["results"]
BENCHMARKS = f"{RESULTS}/benchmarks"
# An environment of conda's has the library from a checkout, and lacks an installed one.
CONDA = None if IS_INSTALLED else "../../envs/perigee.yaml"
PLAN_OPTIONS = " ".join(
    [
        f"--scale {shlex.quote(settings['scale'])} --results {shlex.quote(RESULTS)}",
        f"--seeds {settings['seeds']}",
        *(f"--paper {paper}" for paper in settings["papers"]),
    ]
)
layout = Layout(
    plan, RESULTS, settings["data"], writes=not workflow.output_settings.dryrun
)
LOGS, RECEIPTS = layout.logs, layout.receipts.folder

if workflow.is_main_process:
    for warning in warnings_of(layout, settings):
        print(f"Warning: {warning}", file=sys.stderr)


def is_planning():
    """Whether the figures beside `plan` or `calibrate` are only planned, and not made."""
    asked = workflow.dag_settings.targets if workflow.is_main_process else []
    return not PLANNING.isdisjoint(asked)


def published(name, inputs=None):
    """What a named target needs: the figures it stands for, or other inputs that contain them."""

    def found(w):
        if is_planning():
            return []
        tell_left_out(name, layout.named[name], layout.absent)
        return inputs() if inputs else layout.published(name)

    return found


def asked_beside():
    """The targets beside `plan` or `calibrate`; none in a job's own process."""
    asked = workflow.dag_settings.targets
    return targets_beside(asked, layout.named) if workflow.is_main_process else []


def figures_to_plan():
    """The figures that these targets stand for."""
    return [key for name in asked_beside() for key in layout.named[name]]


def tell_failures(logs):
    """Print what failed, from Snakemake's own logs: what a Snakefile has under `onerror`."""
    read = [Path(path).read_text(encoding="utf-8", errors="replace") for path in logs]
    print(*failed_jobs("".join(read)), sep="\n")


onerror:
    tell_failures(log)


wildcard_constraints:
    name=NAME,
    version=VERSION,
    key="|".join(plan.figures),
    n="[0-9]+",

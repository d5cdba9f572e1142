"""Run a command as a SLURM job step, and pass SIGTERM on to every process that it started.

    python forward.py COMMAND ...

Where SLURM tracks processes by cgroups, as most clusters do, it signals only the job step's first
process. That is Snakemake, which then waits for its jobs and tells them nothing.
"""

import os
import signal
import subprocess
import sys


def pass_on(number: int, frame: object) -> None:
    """A signal handler: the signal goes to the whole process group, once."""
    signal.signal(number, signal.SIG_IGN)
    os.killpg(0, number)


if __name__ == "__main__":
    if os.getpid() != os.getpgrp():
        os.setpgrp()
    signal.signal(signal.SIGTERM, pass_on)
    status = subprocess.Popen(sys.argv[1:]).wait()
    sys.exit(status if status >= 0 else 128 - status)

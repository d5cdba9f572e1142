"""Run a command as a SLURM job step, and pass SIGTERM on to every process that it started.

    python forward.py COMMAND ...

Where SLURM tracks processes by cgroups, as most clusters do, it signals only the job step's first
process. The command is a Snakemake, which waits for its jobs when told to stop and tells them
nothing. Elsewhere SLURM signals all processes itself, and then programs hear of it twice, which
does them no harm. Snakemake hangs if a second signal comes while it handles the first, so it is
told a second later than its jobs.
"""

import contextlib
import signal
import subprocess
import sys

import psutil


def main() -> int:
    """Run the command; its exit status."""
    command = subprocess.Popen(sys.argv[1:])

    def tell_jobs(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        signal.alarm(1)
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(command.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    signal.signal(signal.SIGALRM, lambda number, frame: command.terminate())
    signal.signal(signal.SIGTERM, tell_jobs)
    status = command.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())

"""What the executor of the profile `slurm/` does when SLURM does not answer, or in other words."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import snakemake_executor_plugin_slurm as plugin

import snakemake_executor_plugin_perigee_slurm as executor
from snakemake_executor_plugin_perigee_slurm.silence import (
    LONGEST_SECONDS,
    REMINDER_SECONDS,
    Silence,
    TooLongError,
)


def test_silence_is_told_once_and_so_is_its_end() -> None:
    silence = Silence()
    told = [silence.note(answered, now) for now, answered in enumerate([1, 0, 0, 0, 1, 1, 0])]
    assert [bool(words) for words in told] == [False, True, False, False, True, False, True]
    assert told[4] == "SLURM answers again, after 3 s."
    assert told[1] == told[6]


def test_long_silence_is_told_every_hour_and_ends_after_a_day() -> None:
    silence = Silence()
    told = []
    minutes = range(0, LONGEST_SECONDS, 60)
    for now in minutes:
        told.append(silence.note(False, now))
    reminders = [words for words in told[1:] if words]
    assert len(reminders) == LONGEST_SECONDS // REMINDER_SECONDS - 1
    assert reminders[4] == "SLURM has not answered for 5 h; asking on."
    with pytest.raises(TooLongError, match="for a day"):
        silence.note(False, LONGEST_SECONDS)


def test_states_are_read_as_sacct_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer() -> tuple[dict[str, str], float]:
        return {"1": "CANCELLED by 1000", "2": "COMPLETED", "3": ""}, 0.1

    monkeypatch.setattr(executor, "_states_as_written", answer)
    states, seconds = asyncio.run(executor._states())
    assert states == {"1": "CANCELLED", "2": "COMPLETED", "3": ""}
    assert seconds == 0.1
    # And it is this that the plugin calls.
    assert plugin.query_job_status is executor._states


def test_no_answer_stays_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(executor, "_states_as_written", none)
    assert asyncio.run(executor._states()) == (None, None)


FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)  # as Snakemake, it waits for its jobs
sys.exit(subprocess.Popen(["bash", "-c", "trap : TERM; sleep 30 & wait; echo told"]).wait())
"""


def test_a_signal_is_passed_on_to_all_that_was_started(tmp_path: Path) -> None:
    command = [sys.executable, str(executor.FORWARD), sys.executable, "-c", FAMILY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert "told" in printed


@pytest.mark.parametrize(("ended", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_the_status_of_the_command_is_passed_on(ended: str, status: int) -> None:
    command = [sys.executable, str(executor.FORWARD), "bash", "-c", ended]
    assert subprocess.run(command, check=False).returncode == status

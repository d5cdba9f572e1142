"""How long SLURM has not answered, and what to tell of it."""

from __future__ import annotations

from dataclasses import dataclass

REMINDER_SECONDS = 3600
LONGEST_SECONDS = 24 * 3600
"""(ours) Whoever waits is told of it every hour, and after a day the waiting ends."""


class TooLongError(Exception):
    """SLURM has not answered for `LONGEST_SECONDS`."""


@dataclass
class Silence:
    """A record of whether SLURM answers questions about its jobs.

    Attributes:
        since: when it did not answer for the first time; None while it answers.
        told: when that was told last.
    """

    since: float | None = None
    told: float = 0.0

    def note(self, answered: bool, now: float) -> str | None:
        """Note whether a question was answered, and return what to tell the user, if anything.

        Args:
            answered: whether SLURM answered it.
            now: the time, in seconds.

        Raises:
            TooLongError: it has not for a day.
        """
        if answered:
            since, self.since = self.since, None
            return None if since is None else f"SLURM answers again, after {now - since:.0f} s."
        if self.since is None:
            self.since = self.told = now
            return "SLURM does not say how its jobs are; asking on. Jobs that run are not touched."
        if now - self.since >= LONGEST_SECONDS:
            raise TooLongError(
                "SLURM has not answered for a day. Start Snakemake again when it does; nothing is "
                "lost."
            )
        if now - self.told >= REMINDER_SECONDS:
            self.told = now
            return f"SLURM has not answered for {(now - self.since) / 3600:.0f} h; asking on."
        return None

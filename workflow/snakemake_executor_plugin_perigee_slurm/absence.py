"""How long jobs have been missing from what SLURM lists."""

from __future__ import annotations

from dataclasses import dataclass, field

LOST_SECONDS = 120
"""(ours) A job that SLURM does not list for so long, though it answers, does not come back.

Right after its submission slurmdbd may not list a job yet; and one that is preempted and put into
the queue again is listed as preempted for a moment.
"""


@dataclass
class Absence:
    """Which jobs are missing.

    Attributes:
        since: when a job was missing for the first time, by its id; only of those that still are.
    """

    since: dict[str, float] = field(default_factory=dict)

    def note(self, job: str, is_absent: bool, now: float) -> bool:
        """Note one answer of SLURM; True once the job counts as lost.

        Args:
            job: its id.
            is_absent: whether the answer leaves it out.
            now: the time, in seconds.
        """
        if not is_absent:
            self.since.pop(job, None)
            return False
        lost = now - self.since.setdefault(job, now) >= LOST_SECONDS
        if lost:
            del self.since[job]
        return lost

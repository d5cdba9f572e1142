"""Names of the files that hold a run's kept checkpoints, and which are kept."""

TRAJECTORY, DESCRIPTION = "trajectory.npy", "trajectory.json"
TRAJECTORY_FILES = (TRAJECTORY, DESCRIPTION)


def kept_at(epochs: int, every: int) -> list[int]:
    """Epochs whose checkpoints are kept: 0 (the initialisation), every ``every``-th, the last."""
    return sorted({*range(0, epochs + 1, every), epochs})

"""Names of the files that hold a run's kept checkpoints."""

TRAJECTORY, DESCRIPTION = "trajectory.npy", "trajectory.json"
TRAJECTORY_FILES = (TRAJECTORY, DESCRIPTION)

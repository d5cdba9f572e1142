"""Learning-rate schedules, one module each: factors of a run's base learning rate."""

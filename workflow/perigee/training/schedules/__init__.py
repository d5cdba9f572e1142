"""Learning-rate schedules, one module each: what a run's base learning rate is multiplied by."""

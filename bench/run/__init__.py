"""Running a plan: units of work, workers, progress."""

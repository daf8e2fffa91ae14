"""Keep what happened, on this machine. Never here: changing an outcome; a fact that lives nowhere else."""

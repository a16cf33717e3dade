"""One degradation a file; see `training.data.degradation.degrade`."""

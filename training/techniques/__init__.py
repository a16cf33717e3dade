"""One way of fine-tuning a file; see `training.loop.technique`."""

"""Models on disk: the checkpoints of a run, and releases."""

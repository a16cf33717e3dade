"""One engraver a file; see `training.data.engraving.engraver`."""

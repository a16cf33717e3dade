"""One way of sharing out the work a file; see `training.data.dataset.executor`."""

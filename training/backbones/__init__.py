"""One picture encoder a file; see `training.model.backbone`."""

"""From a data set on disk to batches of tensors, in an order that follows from the seed."""

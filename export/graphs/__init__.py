"""The graphs of the inference contract as PyTorch modules, and how they are rewritten for some processors."""

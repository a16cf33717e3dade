"""Finds in the graphs of a bundle what is known to fail or to be slow where it shall run."""

"""Reads lines with a PyTorch model and counts the errors."""

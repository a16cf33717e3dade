"""Runs Core ML programs without Apple's runtime."""

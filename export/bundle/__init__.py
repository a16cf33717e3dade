"""Writes bundles, describes them, checks them again."""

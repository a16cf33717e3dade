"""Spoils pictures as scanners and cameras do."""

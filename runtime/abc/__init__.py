"""Canonical ABC: its text, the model behind it, and what the notes of it sound like."""

"""Reads MusicXML files as canonical tunes."""

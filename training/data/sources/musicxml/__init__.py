"""MusicXML files as canonical tunes."""

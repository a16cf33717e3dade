"""MusicTrOCR: a backbone, a memory of columns, a decoder."""

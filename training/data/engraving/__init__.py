"""Draws lines as pictures: writes what each engraver reads, and finds the place of every symbol in its drawing."""

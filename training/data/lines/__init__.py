"""Lines made from tunes: cut, invented, reworked, marked, as a grand staff; and the table of what is labelled."""

"""Makes lines of music from tunes, invents others, adds rarer notation; has the table of what is labelled."""

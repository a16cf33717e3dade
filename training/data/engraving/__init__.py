"""Lines as pictures: what is written for each engraver, and where in its drawing every symbol stands."""

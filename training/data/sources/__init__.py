"""Where tunes come from: collections and scores as canonical tunes, what is in scope, and which split each is in."""

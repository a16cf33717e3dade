"""From the picture of a line or page to its ABC."""

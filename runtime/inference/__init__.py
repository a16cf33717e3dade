"""What runs the graphs of a bundle: the interface of all engines, and what several of them share."""

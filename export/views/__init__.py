"""Turns a graph of each format into an `export.view.GraphView`, one file for each format."""

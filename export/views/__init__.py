"""Turns a graph of each format into an `export.views.graph_view.GraphView`, one file for each format."""

"""One format a file: how a graph of it becomes an `export.views.graph_view.GraphView`."""

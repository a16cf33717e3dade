"""One format a file: how a graph of it becomes an `export.view.GraphView`."""

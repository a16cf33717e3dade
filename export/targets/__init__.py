"""One format a file; see `export.target`."""

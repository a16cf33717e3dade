"""One rule of `omr-export lint` a file; see `export.lint.rule`."""

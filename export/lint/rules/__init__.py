"""The rules of `omr-export lint`, one in each file; see `export.lint.rule`."""

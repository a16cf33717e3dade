"""One engine a file; see `runtime.inference.engine`."""

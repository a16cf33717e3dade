"""One device a file; see `mobile_bench.device`."""

"""Builds data sets in shards, on this machine or a cluster, and opens them, ours and other people's."""

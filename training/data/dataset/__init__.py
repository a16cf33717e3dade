"""Data sets: built in shards, here or on a cluster, and opened again by name, ours and other people's."""

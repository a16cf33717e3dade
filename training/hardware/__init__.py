"""What a run computes on: number formats, memory, several processes."""

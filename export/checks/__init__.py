"""What an artifact must show before it is written: it computes and reads what PyTorch does."""

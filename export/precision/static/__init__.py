"""int8 activations with scales that are fixed beforehand, a format a file."""

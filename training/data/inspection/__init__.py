"""Shows what is in a data set: contact sheets, counts and plots."""

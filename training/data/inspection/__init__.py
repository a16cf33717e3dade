"""Looking at a data set: contact sheets, counts and plots."""

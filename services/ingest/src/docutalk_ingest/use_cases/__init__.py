"""One verb for each file."""

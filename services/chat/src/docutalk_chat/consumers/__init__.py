"""Everything that comes in, one file for each message or request."""

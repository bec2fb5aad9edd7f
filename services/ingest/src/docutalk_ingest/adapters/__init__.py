"""The database and the readers of files."""

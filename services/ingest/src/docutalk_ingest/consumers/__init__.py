"""One file for each message and request that ingest takes."""

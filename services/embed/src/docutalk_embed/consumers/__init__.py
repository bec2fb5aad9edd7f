"""One file for each message and request that embed takes."""

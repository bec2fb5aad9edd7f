"""What the gateway does, one verb for each file."""

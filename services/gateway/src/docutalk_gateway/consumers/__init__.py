"""What the gateway reacts to."""

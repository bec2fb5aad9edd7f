"""What embed does, one verb in each file."""

"""What embed works with: the model, the batcher in front of it, PostgreSQL."""

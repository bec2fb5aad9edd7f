"""What an answer is made of: pure functions over text, states, limits and named errors. No I/O."""

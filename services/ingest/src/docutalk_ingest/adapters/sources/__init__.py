"""What kinds of sources there are: one module for each, with what it needs to know and how it finds its items."""

"""Turns uploaded files into pages of text and chunks."""

"""Embeds chunks and finds passages."""

"""The docutalk command."""

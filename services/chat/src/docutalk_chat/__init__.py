"""Answers questions with citations that stand on the page."""

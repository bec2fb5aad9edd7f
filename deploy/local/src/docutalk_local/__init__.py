"""Runs DocuTalk and its servers on one machine from wheels."""

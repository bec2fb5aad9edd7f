"""Contracts, messaging, storage and telemetry shared by every DocuTalk service."""

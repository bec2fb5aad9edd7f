"""The HTTP edge of DocuTalk."""

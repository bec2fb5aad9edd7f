"""DocuTalk on one machine: the real servers from wheels, every service as a process of its own, supervised."""

"""What the gateway talks to: its tables, tokens, passwords, live feeds."""

"""What tests of every service share. Not imported by any service."""

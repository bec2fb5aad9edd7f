"""What services say to one another: data only, one module for each owner.

Producers are strict and consumers tolerant: within a version fields are only added, with defaults, and unknown
fields are ignored. A breaking change is a new version beside the old one. `tests/contracts` holds golden JSON.
"""

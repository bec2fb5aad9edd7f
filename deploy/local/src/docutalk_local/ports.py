"""Choosing ports on loopback that stay free while a server restarts."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections. Inside it, a client that keeps trying to
# reach a stopped server can be given the server's own port and connect to itself, and the server can't come back.
_FIRST, _LAST = 20_000, 29_999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on that port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def free_port(*, taken: frozenset[int] = frozenset()) -> int:
    """A port that nobody listens on and that is not in `taken`."""
    candidates = random.SystemRandom()
    for _ in range(1000):
        port = candidates.randint(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port on loopback between {_FIRST} and {_LAST}")

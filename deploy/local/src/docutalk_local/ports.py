"""Choosing ports on loopback that stay free while a server restarts."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

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
    """A port that nobody listens on and that is not in `taken`.

    As long as this process lives no other call, here or in another process of this user, returns the same one: between the
    choice and the moment at which a server listens, and while a server restarts, the port looks free.
    """
    candidates = random.SystemRandom()
    for _ in range(1000):
        port = candidates.randint(_FIRST, _LAST)
        if port not in taken and _claim(port) and is_free(port):
            return port
    raise OSError(f"no free port on loopback between {_FIRST} and {_LAST}")


def claim(port: int) -> bool:
    """Whether that port is this process's from now on, as if it had been chosen here; also when it already was."""
    return port in _claimed or _claim(port)


_claimed: set[int] = set()


def _claim(port: int) -> bool:
    """Whether the port is ours from now on. The lock ends with the process, however that ends."""
    if port in _claimed:
        return False
    claims = _claims()
    try:
        fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    _claimed.add(port)
    return True


@functools.cache
def _claims() -> int:
    """An empty file, never closed, of which a process locks the byte at each port that it was given."""
    path = Path(tempfile.gettempdir()) / f"docutalk-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

"""Which addresses of the network a source may be fetched from: those of the public internet, and what the operator opens."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from docutalk_common.errors import DocuTalkError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 6890 and its successors, written out: what Python counts as private differs between its patch releases.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        # The one public address that a cloud answers on from inside: the metadata server of Azure.
        "168.63.129.16/32",
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6 = tuple(ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_6TO4 = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# A look-up cannot be stopped, and a stranger's name server may leave it without an answer: in the loop's own threads a few of
# them would hold up the connections to PostgreSQL and NATS.
_LOOK_UPS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="names")

EVERYWHERE: tuple[Network, ...] = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


class AddressRefused(DocuTalkError):
    """A name leads only to addresses that may not be fetched from."""

    code = "address_refused"


class NameNotFound(DocuTalkError):
    """Nobody knows an address for the name."""

    code = "name_not_found"


class Resolver(Protocol):
    """Addresses of a name, best first. Raises `OSError` when there is none."""

    async def __call__(self, host: str, port: int) -> Sequence[str]: ...


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _6TO4:
        return is_public(ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF))
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def networks(listed: str) -> tuple[Network, ...]:
    """The networks of a list separated by commas. Raises `ValueError` for what is none."""
    return tuple(ipaddress.ip_network(entry.strip()) for entry in listed.split(",") if entry.strip())


class AddressBook:
    """Names to addresses that may be connected to."""

    def __init__(self, resolver: Resolver = system_resolver, allow: Sequence[Network] = ()) -> None:
        self._resolver = resolver
        self._allow = tuple(allow)

    def allows(self, address: Address) -> bool:
        """Whether it is public, or in a network that the operator has opened."""
        mapped = getattr(address, "ipv4_mapped", None)
        plain: Address = mapped if mapped is not None else address
        return is_public(plain) or any(plain in network for network in self._allow)

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a name that may be used. Raises `NameNotFound` or `AddressRefused`."""
        try:
            found = await self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise NameNotFound(f"the name {host} is not known; check the address") from error
        allowed = [text for text in found if self.allows(ipaddress.ip_address(text))]
        if not allowed:
            raise AddressRefused(
                # Not to which address: that would be a way to ask about the names of the network that we stand in.
                f"{host} does not lead to the public internet;"
                " an operator can open a network for sources with DOCUTALK_SOURCE_ALLOW_NETWORKS"
            )
        return allowed

"""Addresses to which connections are made that the configuration does not name one by one.

`/probe` looks at what its callers name, and lists and answers on revocation are asked for where certificates say.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from config.address import is_dns_name, is_ip_address
from config.immutable import immutable
from config.pattern import is_one_of

Network = IPv4Network | IPv6Network

_SPECIAL: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
            # The IPv6 networks among them contain an IPv4 address, which a translator would lead to the same hosts.
            *("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2002::/16", "fe80::/10", "ff00::/8"),
        ),
    )
)
"""This host itself, its links and groups: services that listen there may trust their neighbours (RFC 6890)."""


_NOBODY_S: Final[tuple[Network, ...]] = tuple(
    map(ip_network, ("192.88.99.0/24", "fec0::/10", "3fff::/20", "5f00::/16"))
)
"""Special networks that `ipaddress` takes for global: relays of 6to4 (RFC 7526), site-local (RFC 3879), documentation
(RFC 9637), segment routing (RFC 9602)."""


@immutable
class Reach:
    """Networks, and the ports at their addresses."""

    networks: tuple[Network, ...]
    """A network with loopback or link-local addresses beside others, such as 0.0.0.0/0, does not allow these."""
    ports: frozenset[int]
    names: tuple[str, ...] = ()
    """Names, or patterns of them, that a proxy may be asked for: it resolves them, so nobody here sees the address."""

    def covers_name(self, host: str, port: int) -> bool:
        """Whether a proxy may be asked to connect to `host`, a name or an address, at a port."""
        if is_ip_address(host):
            return self.covers(host, port)
        return (
            port in self.ports and is_dns_name(host) and is_one_of(host.lower(), (each.lower() for each in self.names))
        )

    def covers(self, address: str, port: int) -> bool:
        """Whether an IP address, as a resolver gave it, and a port are among these."""
        plain = _plain(address)
        special = next((network for network in _SPECIAL if plain in network), None)
        return port in self.ports and any(
            plain in network and (special is None or _lies_within(network, special)) for network in self.networks
        )


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Return an address without its zone; an IPv4 address that is written as an IPv6 address leads to the same host."""
    bare = ip_address(address.partition("%")[0])
    return bare.ipv4_mapped if isinstance(bare, IPv6Address) and bare.ipv4_mapped else bare


def _lies_within(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(other, IPv4Network):
        return network.subnet_of(other)
    return isinstance(network, IPv6Network) and isinstance(other, IPv6Network) and network.subnet_of(other)


def is_public(address: str) -> bool:
    """Whether an IP address, as a resolver gave it, is one of the Internet's, of nobody's own network."""
    plain = _plain(address)
    return (
        plain.is_global and not plain.is_multicast and not any(plain in network for network in (*_SPECIAL, *_NOBODY_S))
    )

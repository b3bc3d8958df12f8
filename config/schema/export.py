"""The daemon's answers to other programs, as they are written: the reach of `/probe`, and optional metrics."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field

from config import reach
from config.fields import Network, Port
from config.schema.section import Section


class ReachSection(Section):
    """Networks, and the ports at their addresses."""

    networks: list[Network] = Field(min_length=1)
    """Networks such as 10.0.0.0/8 or "fd00::/8". Loopback and link-local addresses need a network of their own."""
    ports: list[Port] = Field(min_length=1)
    """The ports at these addresses."""

    def build(self) -> reach.Reach:
        """Return the reach."""
        return reach.Reach(tuple(map(ip_network, self.networks)), frozenset(self.ports))


class Probe(Section):
    """The addresses that a request for `/probe` may have looked at."""

    allow: list[ReachSection] = []
    """Further addresses; endpoints are always allowed."""


class MetricsSection(Section):
    """Metrics under the names of other exporters."""

    x509_cert: bool = False
    """For each certificate in a file also x509_cert_not_after and the other names of x509-certificate-exporter."""

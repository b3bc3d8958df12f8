"""What the daemon answers to others, as it is written: how far `/probe` reaches, which metrics there are."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field

from config import reach
from config.fields import Network, Port
from config.schema.section import Section


class ReachSection(Section):
    """Networks, and the ports at their addresses."""

    networks: list[Network] = Field(min_length=1)
    """Networks such as 10.0.0.0/8 or "fd00::/8"; loopback and link-local addresses only where they are named alone."""
    ports: list[Port] = Field(min_length=1)
    """The ports at these addresses."""

    def build(self) -> reach.Reach:
        """Return the reach."""
        return reach.Reach(tuple(map(ip_network, self.networks)), frozenset(self.ports))


class Probe(Section):
    """What may be looked at by asking for `/probe`."""

    allow: list[ReachSection] = []
    """Beside the endpoints, which always may."""


class MetricsSection(Section):
    """Metrics for those who come from other exporters."""

    x509_cert: bool = False
    """Of every certificate in a file also x509_cert_not_after and others, as x509-certificate-exporter has them."""

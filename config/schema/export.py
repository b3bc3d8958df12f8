"""The daemon's answers to other programs, as they are written: the reach of `/probe`, and optional metrics."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Self

from pydantic import Field, model_validator

from config import model, reach
from config.fields import Network, PathComponents, Port
from config.schema.section import Section, broken_rule


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
    x509_relative: bool = False
    """Also x509_cert_expires_in_seconds and x509_cert_valid_since_seconds, which change at every scrape."""
    x509_trim_path_components: PathComponents = 0
    """How many components at the beginning of each path are left out of its labels, such as 2 for /mnt/watch."""

    @model_validator(mode="after")
    def _check_use(self) -> Self:
        for key in ("x509_relative", "x509_trim_path_components"):
            if getattr(self, key) and not self.x509_cert:
                raise broken_rule(f"'{key}' without 'x509_cert', expected 'x509_cert: true' beside it", key)
        return self

    def build(self) -> model.X509CertSettings | None:
        """Return how they are exported; None for not at all."""
        if not self.x509_cert:
            return None
        return model.X509CertSettings(self.x509_relative, self.x509_trim_path_components)

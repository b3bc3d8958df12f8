"""Where it is learnt if certificates are revoked, as it is written."""

from __future__ import annotations

from typing import Final, Self

from pydantic import model_validator

from config import revocation
from config.address import split_proxy
from config.fields import AbsolutePath, HTTPProxyURL, Interval, Mebibytes, default_duration
from config.model import Proxy
from config.schema.export import ReachSection
from config.schema.section import Section, broken_rule

_FETCHING: Final = revocation.Fetching()


class FetchSection(Section):
    """How revocation lists are fetched; without this section, nothing is fetched."""

    crls: bool = _FETCHING.crls
    """Whether revocation lists are fetched from the URLs that certificates name."""
    ocsp: bool = _FETCHING.ocsp
    """Whether CAs are asked by OCSP. Each question tells the CA who looks at which certificate."""
    proxy: HTTPProxyURL | None = None
    """The proxy for all requests: http://HOST:PORT. It resolves the names, and decides which of them may be asked."""
    proxy_credentials_file: AbsolutePath | None = None
    """A file with the user and the password for the proxy, as USER:PASSWORD in one line."""
    allow: list[ReachSection] = []
    """Further addresses; all public ones are allowed, at the ports 80 and 443."""
    every: Interval = default_duration(_FETCHING.every)
    """The time between two requests for the same list; a list that ends before is asked for before."""
    timeout: Interval = default_duration(_FETCHING.timeout)
    """The time limit for one list, redirects included."""
    largest: Mebibytes = _FETCHING.largest
    """The largest list, in MiB."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.proxy_credentials_file is not None and self.proxy is None:
            raise broken_rule(
                "'proxy_credentials_file' without 'proxy', expected it beside", "proxy_credentials_file", "proxy"
            )
        return self

    def build(self) -> revocation.Fetching:
        """Return how it is fetched."""
        return revocation.Fetching(
            self.crls,
            self.ocsp,
            None if self.proxy is None else Proxy(*split_proxy(self.proxy), self.proxy_credentials_file),
            tuple(each.build() for each in self.allow),
            self.every,
            self.timeout,
            self.largest,
        )


class RevocationSection(Section):
    """Where it is learnt if certificates are revoked."""

    crls: list[AbsolutePath] = []
    """Files with certificate revocation lists, PEM or DER; directories and patterns as in `watch`."""
    fetch: FetchSection | None = None
    """How lists are fetched; nothing is fetched without it."""

    def build(self) -> revocation.RevocationSettings:
        """Return the settings."""
        return revocation.RevocationSettings(tuple(self.crls), None if self.fetch is None else self.fetch.build())

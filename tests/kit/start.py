"""The type of the fixtures that start servers."""

from __future__ import annotations

from typing import Protocol, TypeVar

from monitor.lab.servers import Server, Site, TLSSettings

AnyServer_co = TypeVar("AnyServer_co", bound=Server, covariant=True)


class StartServer(Protocol[AnyServer_co]):
    """Starts a server that is stopped when the test ends."""

    def __call__(self, *sites: Site, tls: TLSSettings = ...) -> AnyServer_co: ...

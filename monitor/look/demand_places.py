"""Where a target of `/probe`, or a redirect from there, leads, and whether it may."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import quote, urljoin

from config.address import is_ip_address, join_address, split_address
from config.immutable import immutable
from config.model import DEFAULT_CLIENT, Endpoint
from config.probing import ProbeModule
from config.text import printable
from config.vocabulary import ProbeKind
from monitor.state.trust import TrustContext
from probes.http.drive import Fetched
from probes.http.exchange import Response
from probes.http.url import REDIRECTS, NoURL, url_parts


@immutable
class RefusedProbe:
    """It is not looked there."""

    why: str
    is_mistake: bool = False
    """Whether the request makes no sense, wherever it may look."""


@immutable
class ProbeAddress:
    """Where a target leads."""

    endpoint: Endpoint
    path: str = "/"
    """And perhaps a query."""
    configured: bool = False
    """Whether the endpoint is one of the configuration, which may be looked at wherever its name leads."""
    plain: bool = False
    """Whether it is asked without TLS, for a file whose own content is judged."""
    by_name: bool = False
    """Whether it is an endpoint that was asked for by its name: no other address is shown our client certificate."""


def place_of(target: str, module: ProbeModule, trust_context: TrustContext) -> ProbeAddress | RefusedProbe:
    """Return where `target` leads: to an endpoint by its name or address, else to where `probe.allow` may allow.

    Whether it does is known only once its name is resolved.
    """
    config = trust_context.config
    named = config.endpoints.get(target)
    if named is not None:
        return ProbeAddress(named, configured=True, by_name=True)
    plain = target.lower().startswith("http://")
    if plain and module.kind is not ProbeKind.HTTP_FILE:
        return RefusedProbe("certvigil looks at TLS: a target of http:// is not probed")
    try:
        host, port, path = _address(target, module)
    except ValueError:
        return RefusedProbe("the target is neither an endpoint nor host:port")
    at_address = [each for each in config.endpoints.values() if (each.host.lower(), each.port) == (host.lower(), port)]
    if at_address and not plain:
        return ProbeAddress(at_address[0], path, configured=True)
    if plain and module.proxy is not None:
        return RefusedProbe("a target of http:// is asked for without a proxy alone")
    here = Endpoint(join_address(host, port), host, port, clients=(DEFAULT_CLIENT,), proxy=module.proxy)
    if module.proxy is not None:
        if any(reach.covers_name(host, port) for reach in config.settings.probe):
            return ProbeAddress(here, path, plain=plain)
        return RefusedProbe(
            f"a proxy would resolve {printable(host)}, and probe.allow has no such name with port {port}"
        )
    if not any(port in reach.ports for reach in config.settings.probe):
        return RefusedProbe(f"no endpoint is at {join_address(host, port)}, and probe.allow does not have its port")
    return ProbeAddress(here, path, plain=plain)


def _address(target: str, module: ProbeModule) -> tuple[str, int, str]:
    """Return host, port and path of a URL, of `host:port`, or of `host` where the module knows the port."""
    if "://" in target:
        place = url_parts(quote(target, _IN_URL))
        if isinstance(place, NoURL):
            raise ValueError(place.why)
        return place.host, place.port, place.target
    if module.default_port is not None:
        bare = target.strip("[]") if is_ip_address(target.strip("[]")) else target
        if is_ip_address(bare) or ":" not in bare:
            target = join_address(bare, module.default_port)
    return *split_address(target), "/"


_IN_URL: Final = "/?#:@!$&'()*+,;=-._~%[]"
"""Characters that stay as they are in a URL; everything else is percent-encoded."""


def redirect_of(
    place: ProbeAddress, fetched: Fetched | None, module: ProbeModule, trust_context: TrustContext
) -> ProbeAddress | None:
    """Return where the answer from `place` redirects to; None where it does not, or where that may not be looked at.

    A redirect to the same name and port stays at the endpoint, at whatever address that is configured.
    """
    location = location_of(fetched)
    if location is None:
        return None
    endpoint = place.endpoint
    here = join_address(endpoint.verified_name, endpoint.port)
    try:
        where = urljoin(f"{'http' if place.plain else 'https'}://{here}{place.path}", location)
        host, port, path = _address(where, module) if "://" in where else ("", 0, "")
    except ValueError:
        return None
    if join_address(host, port).lower() == here.lower() and not place.plain:
        return replace(place, path=path)
    onward = place_of(where, module, trust_context)
    return None if isinstance(onward, RefusedProbe) else onward


def location_of(fetched: Fetched | None) -> str | None:
    """Return where an answer redirects to, hostile text; None where it does not."""
    answer = None if fetched is None else fetched.answer
    return answer.location if isinstance(answer, Response) and answer.status in REDIRECTS else None

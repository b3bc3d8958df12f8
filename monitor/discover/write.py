"""A configuration of what was found: components that can be replaced, and what is only watched, each with the reason.

A component gets a service only where every condition of `why_watched` holds. Its commands are those of our own table.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from config.address import is_dns_name, join_address
from config.immutable import immutable
from config.service import Activation
from config.text import Printable, listed, printable, sentence
from config.vocabulary import EndpointProtocol, KeyKind
from monitor.discover.lineages import PASSED_OVER, certificate_directories
from monitor.discover.services import SERVES, find_test
from monitor.discover.survey import FoundPort, FoundSite, SeenAt, Survey, name_for
from probes.listening import ProcessPlace
from probes.server_config.files import HostFiles

_NOT_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_PATTERN: Final = frozenset("*?[")
_NOT_OURS: Final = frozenset({ProcessPlace.USER, ProcessPlace.ELSEWHERE})
"""Where nothing is written about: it is only reported."""


@immutable
class ComponentDraft:
    """A component as it is written."""

    name: str
    site: FoundSite
    why_watched: tuple[Printable, ...]
    """Why certvigil may not change it: sentences; empty where it may."""
    test: tuple[str, ...] | None


@immutable
class ConfigurationDraft:
    """What is written, and what is not."""

    components: tuple[ComponentDraft, ...]
    watched: tuple[str, ...]
    """Paths and patterns."""
    excluded: tuple[str, ...]
    endpoints: tuple[FoundPort, ...]
    """Ports with TLS that no component has."""
    left_out: tuple[Printable, ...]
    """What was found and is not written, with the reason: sentences."""


def draft(survey: Survey, files: HostFiles) -> ConfigurationDraft:
    """Return the configuration that a survey leads to."""
    components: list[ComponentDraft] = []
    left_out: list[Printable] = []
    watched: list[str] = []
    taken: dict[str, str] = {}
    for site in survey.sites:
        paths = tuple(dict.fromkeys(artefacts(site).values()))
        if odd := _unwritable(paths):
            left_out.append(sentence("{}: its name cannot be written as a path", printable(odd, 500)))
        elif not site.served_at or site.place in _NOT_OURS:
            _leave(site, watched, left_out)
        elif (by := next((taken[each] for each in paths if each in taken), None)) is not None:
            left_out.append(
                sentence(
                    "{} of {}: the component {} has this file already; a file is changed by one component",
                    printable(site.site.files.certificate, 500),
                    site.software,
                    printable(by),
                )
            )
        else:
            name = _name(site, {each.name for each in components})
            taken |= dict.fromkeys(paths, name)
            why = tuple(why_watched(site))
            components.append(ComponentDraft(name, site, why, None if why else find_test(files, site.software)))
    shown = {(each.address, each.port) for one in components for each in one.site.served_at}
    endpoints = [each for each in survey.ports if _is_more(each, shown, left_out)]
    trusted = [path for path in survey.stores if files.doubt(path) is None]
    lineage_files = [each.files.certificate for each in survey.lineages]
    plain = [path for path in (*watched, *lineage_files, *trusted) if path not in taken and not _unwritable([path])]
    directories = [each for each in certificate_directories(files) if files.doubt(each) is None]
    return ConfigurationDraft(
        tuple(components),
        tuple(dict.fromkeys((*plain, *(f"{each}/**" for each in directories)))),
        tuple(each for each in map(files.located, PASSED_OVER) if files.is_directory(each) and directories),
        tuple(endpoints),
        tuple(left_out),
    )


def _leave(site: FoundSite, watched: list[str], left_out: list[Printable]) -> None:
    """Note a site that is no component: watched where it is on this host, and only reported where it is elsewhere.

    Of a path that others than root could have named, nobody learns whether there is a certificate.
    """
    path = site.site.files.certificate
    if site.place in _NOT_OURS:
        left_out.append(sentence("{} of {}: {}", printable(path, 500), site.software, site.unit.why))
        return
    if site.certificate is not None and not site.untrusted:
        watched.append(path)
    why = Printable("no open port was seen to serve it")
    if site.differs_at and not site.untrusted:
        why = Printable("a port that is meant to serve it serves another certificate")
    left_out.append(sentence("{} of {} is no component: {}", printable(path, 500), site.software, why))


def artefacts(site: FoundSite) -> dict[str, str]:
    """Return the files of a site that are written, by their role.

    Where others than root could have named them, it is the certificate alone, which was seen to be served: nobody shall
    learn from findings and metrics of keys that are closed to them, nor keep files from other components.
    """
    files = site.site.files
    found = {"certificate": files.certificate, "key": files.key, "chain": files.chain}
    if files.is_keystore:
        found = {"keystore": files.certificate}
    elif site.untrusted:
        found = {"certificate": files.certificate}
    elif files.key == files.certificate:
        found = {"combined": files.certificate, "chain": files.chain}
    return {role: path for role, path in found.items() if path is not None}


def why_watched(site: FoundSite) -> Iterator[Printable]:
    """Yield why certvigil may not change the files of a site: sentences."""
    if site.lineage is not None:
        yield sentence(
            "{} renews it; its hook brings a new certificate to certvigil (the recipe for {})",
            site.lineage.client,
            site.lineage.client,
        )
    yield from site.untrusted
    if site.untrusted and not site.site.files.is_keystore:
        yield Printable("neither its key nor its chain is written, since others than root could have named them")
    if site.site.files.is_keystore:
        yield Printable("it is a keystore, whose password is not known")
    if site.site.files.key is None:
        yield Printable("no file of its private key is named")
    if site.unit.name is None:
        yield site.unit.why


def _is_more(port: FoundPort, shown: set[tuple[str, int]], left_out: list[Printable]) -> bool:
    """Whether a port with TLS is an endpoint of no component; what is elsewhere is only reported."""
    if port.protocol is None or (port.socket.reachable, port.socket.port) in shown:
        return False
    if port.holder.place in _NOT_OURS:
        whose = Printable("a process in another namespace")
        if port.holder.place is ProcessPlace.USER:
            whose = Printable("a user's process")
        address = join_address(port.socket.address, port.socket.port)
        left_out.append(sentence("{}: {} holds it", printable(address), whose))
        return False
    return "%" not in port.socket.reachable


def _unwritable(paths: Iterable[str]) -> str:
    """Return the first path that YAML, a variable or a pattern would change; empty where there is none."""
    return next((each for each in paths if "$" in each or not each.isprintable() or not _PATTERN.isdisjoint(each)), "")


def _name(site: FoundSite, taken: set[str]) -> str:
    """Return a new name for a component: that of the server, with its first name where several are served."""
    base = str(site.software)
    if base in taken:
        more = name_for(site) or os.path.basename(site.site.files.certificate)
        base = f"{base}-{_NOT_NAME.sub('-', more)}"[:90].strip("-")
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


# The text


def text_of(found: ConfigurationDraft) -> str:
    """Return the configuration as YAML, with the reasons as comments."""
    lines = [
        "# Written by `certvigil discover`. `certvigil config check` and `certvigil doctor` look at it.",
        "# The client of each component is `default`, which trusts the roots of this system. For a CA of your own:",
        "# trust_stores: {own: {bundle: /etc/certvigil/root.pem}}",
        "# clients: {default: {trusts: own}}",
    ]
    # A document has a section at least.
    lines.append("components:" if found.components else "components: {}")
    for each in found.components:
        lines += _component(each)
    if found.endpoints:
        lines += ["endpoints:", *(f"  - {_flow(_endpoint_of(each))}" for each in found.endpoints)]
    if found.watched:
        lines.append("watch:")
        lines.append(f"  - files: {_flow(found.watched)}")
        if found.excluded:
            lines.append(f"    exclude: {_flow(found.excluded)}")
    lines += [f"# Not written: {each}" for each in found.left_out]
    return "\n".join(lines) + "\n"


def _component(each: ComponentDraft) -> Iterator[str]:
    site = each.site
    yield f"  {each.name}:"
    yield f"    # {site.software}: {printable(site.site.file, 500)} names it"
    for path in dict.fromkeys(artefacts(site).values()):
        yield f"    # {printable(path, 500)}: {_owner_and_mode(path)}"
    yield f"    artefacts: {_flow(artefacts(site))}"
    yield "    endpoints:"
    yield from (f"      - {_flow(_endpoint(place))}" for place in site.served_at)
    for why in each.why_watched:
        yield f"    # only watched: {why}"
    if not each.why_watched:
        yield f"    service: {_flow(_service(each))}"


def _service(each: ComponentDraft) -> dict[str, object]:
    how = SERVES[each.site.software]
    service: dict[str, object] = {"unit": each.site.unit.name, "activate": str(how.activate)}
    if each.test is not None:
        service["test"] = list(each.test)
        writes = [path for path in how.writes if os.path.isdir(path)]
        if writes:
            service["writes"] = writes
    elif how.activate is Activation.RELOAD and how.tests:
        # Without its test, a reload may leave it dead.
        service["activate"] = str(Activation.RESTART)
    return service


def _endpoint(place: SeenAt) -> dict[str, object]:
    found: dict[str, object] = {"address": join_address(place.address, place.port)}
    if place.protocol is not EndpointProtocol.TLS:
        found["protocol"] = str(place.protocol)
    if place.server_name is not None:
        found["server_name"] = place.server_name
    if place.proxy_protocol:
        found["proxy_protocol"] = "v1"
    if place.key_type in {KeyKind.RSA, KeyKind.EC}:
        found["key_type"] = str(place.key_type)
    return found


def _endpoint_of(port: FoundPort) -> dict[str, object]:
    place = SeenAt(
        port.socket.reachable,
        port.socket.port,
        port.protocol or EndpointProtocol.TLS,
        port.proxy_protocol,
        None if port.leaf is None else _first_name(port.leaf.names),
        None,
    )
    return _endpoint(place)


def _first_name(names: Sequence[str]) -> str | None:
    plain = (each.removeprefix("DNS:").replace("*.", "www.", 1) for each in names if each.startswith("DNS:"))
    return next((each for each in plain if is_dns_name(each)), None)


def _owner_and_mode(path: str) -> Printable:
    try:
        found = os.stat(path)
    except OSError as error:
        return printable(error.strerror or "cannot be looked at")
    mode = printable(f"{stat.S_IMODE(found.st_mode):04o}")
    return sentence("user {}, group {}, mode {}", found.st_uid, found.st_gid, mode)


def _flow(value: object) -> str:
    """Return a value in JSON, which is YAML, too."""
    return json.dumps(value, ensure_ascii=True)


def summary(found: ConfigurationDraft) -> Printable:
    """Return the numbers of what is written."""
    replaceable = sum(not each.why_watched for each in found.components)
    return listed(
        (
            sentence("{} components that can be replaced", replaceable),
            sentence("{} that are watched", len(found.components) - replaceable),
            sentence("{} more endpoints", len(found.endpoints)),
        )
    )

"""`certvigil discover`: what is on this host, and a configuration for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from config.address import join_address
from config.immutable import immutable
from config.text import Printable, Shown, harmless, listed, printable, sentence
from monitor.commands.complain import complain
from monitor.commands.json_output import print_json
from monitor.commands.new_file import why_not_new, write_new_file
from monitor.commands.screen import Screen
from monitor.dialect import iso
from monitor.discover.survey import FoundPort, FoundSite, SeenAt, Survey, SurveyScope, survey
from monitor.discover.write import ComponentDraft, ConfigurationDraft, draft, summary, text_of
from probes.certificate import Certificate
from probes.judge.time import moment
from probes.server_config.files import HostFiles

UNUSABLE: Final = 3
_COLUMNS: Final = ("kind", "what", "server", "unit", "state", "because")
_NOTHING: Final = Printable("")


@immutable
class DiscoverQuery:
    """How a host is looked at, and what is done with the result."""

    scope: SurveyScope
    out: str | None = None
    """A new file for the configuration."""
    as_json: bool = False


def discover(query: DiscoverQuery) -> int:
    """Print what is on this host, and write a configuration where that is asked for; return 3 where that cannot be."""
    if query.out is not None and (trouble := why_not_new(query.out, "a configuration")) is not None:
        complain("certvigil discover: {}", trouble)
        return UNUSABLE
    now = time.time()
    found = survey(query.scope, now)
    drafted = draft(found, HostFiles(query.scope.root))
    if query.as_json:
        print_json(_document(found, drafted, now))
    else:
        _show(Screen(), found, drafted)
    return 0 if query.out is None else _write(drafted, query.out)


def begin(root: str | None, out: str | None, *, of_profile: bool) -> int:
    """Write the configuration of `certvigil init` without a profile; return 3 where that cannot be.

    `of_profile`: whether an option was given that makes sense with a profile alone.
    """
    if of_profile:
        complain("certvigil init: --set and --without-files are about a profile: name it by --profile")
        return UNUSABLE
    if out is not None and (trouble := why_not_new(out, "a configuration")) is not None:
        complain("certvigil init: {}", trouble)
        return UNUSABLE
    scope = SurveyScope(root or "/")
    found = survey(scope, time.time())
    drafted = draft(found, HostFiles(scope.root))
    for each in found.unseen:
        complain("not seen: {}", each)
    if out is not None:
        return _write(drafted, out)
    sys.stdout.write(text_of(drafted))
    return 0


def _write(drafted: ConfigurationDraft, out: str) -> int:
    """Write a configuration to a new file; return 3 where that cannot be."""
    try:
        write_new_file(out, text_of(drafted).encode())
    except OSError as error:
        complain("certvigil: {}: {}", printable(out, 4096), printable(error.strerror or str(error)))
        return UNUSABLE
    shown = printable(out, 4096)
    complain("wrote {}: {}; see it with: certvigil config check {}", shown, summary(drafted), shown)
    return 0


def _show(screen: Screen, found: Survey, drafted: ConfigurationDraft) -> None:
    rows = [*_port_rows(found), *_site_rows(found, drafted), *_other_rows(found)]
    if rows:
        screen.table(_COLUMNS, rows)
    else:
        screen.say("No open port, no certificate and no lineage was found.")
    aside = screen.aside()
    for software, file, why in found.not_understood:
        aside.say("{}: {} is not understood: {}", software, printable(file, 500), why)
    for each in drafted.left_out:
        aside.say("not written: {}", each)
    for each in found.unseen:
        aside.say("not seen: {}", each)
    aside.say("{}", summary(drafted))


def _port_rows(found: Survey) -> Iterator[Sequence[Shown]]:
    for port in found.ports:
        where = sentence("{}", printable(join_address(port.socket.address, port.socket.port)))
        state = Printable("no TLS seen")
        if port.protocol is not None:
            state = sentence("{}{}", port.protocol, Printable(" behind PROXY" if port.proxy_protocol else ""))
        software: Shown = port.software or port.holder.program
        yield Printable("port"), where, software, _unit_of(port), state, _because(port)


def _unit_of(port: FoundPort) -> Printable:
    if port.holder.unit is not None:
        return printable(port.holder.unit)
    if port.holder.process:
        return sentence("process {} ({})", port.holder.process, port.holder.place)
    return sentence("user {}", port.socket.user)


def _because(port: FoundPort) -> Printable:
    if port.leaf is None:
        return _NOTHING
    if not port.files:
        # A configuration that an option of its command line names, as `nginx -c FILE`, is not looked for.
        return sentence(
            "presents {}, which is in no file that was read; a configuration that its command line names is not read",
            _called(port.leaf),
        )
    return sentence("presents {}, as in {}", _called(port.leaf), listed(printable(each, 500) for each in port.files))


def _called(certificate: Certificate) -> Printable:
    ends = Printable("an unknown time") if certificate.not_after is None else moment(certificate.not_after)
    return sentence("{} until {}", harmless(certificate.title), ends)


def _site_rows(found: Survey, drafted: ConfigurationDraft) -> Iterator[Sequence[Shown]]:
    components = {id(each.site): each for each in drafted.components}
    for site in found.sites:
        component = components.get(id(site))
        yield (
            Printable("certificate"),
            printable(site.site.files.certificate, 4096),
            site.software,
            printable(site.unit.name or ""),
            _state(site, component),
            _reason(site, component),
        )


def _state(site: FoundSite, component: ComponentDraft | None) -> Printable:
    if component is None:
        return Printable("another is served") if site.differs_at else Printable("not served")
    return sentence(
        "{} {}",
        Printable("watched as") if component.why_watched else Printable("replaceable as"),
        printable(component.name),
    )


def _reason(site: FoundSite, component: ComponentDraft | None) -> Printable:
    told = sentence("{} names it", printable(site.site.file, 500))
    if site.served_at:
        told = sentence("{}, and {} presents it", told, listed(map(_place, site.served_at)))
    for why in component.why_watched if component is not None else ():
        told = sentence("{}; {}", told, why)
    return told


def _place(place: SeenAt) -> Printable:
    return printable(join_address(place.address, place.port))


def _other_rows(found: Survey) -> Iterator[Sequence[Shown]]:
    for each in found.lineages:
        path = printable(each.files.certificate, 4096)
        why = sentence("its hook brings a new one to certvigil: the recipe for {}", each.client)
        yield Printable("lineage"), path, each.client, _NOTHING, Printable("watched"), why
    for store in found.stores:
        yield Printable("store"), printable(store, 4096), _NOTHING, _NOTHING, Printable("watched"), _NOTHING


# JSON


def _document(found: Survey, drafted: ConfigurationDraft, now: float) -> dict[str, Any]:
    components = {id(each.site): each for each in drafted.components}
    return {
        "at": iso(now),
        "ports": [_port_object(each) for each in found.ports],
        "certificates": [_site_object(each, components.get(id(each))) for each in found.sites],
        "lineages": [
            {"client": each.client, "certificate": printable(each.files.certificate, 4096)} for each in found.lineages
        ],
        "stores": [printable(each, 4096) for each in found.stores],
        "not_understood": [
            {"server": software, "file": printable(file, 4096), "why": why}
            for software, file, why in found.not_understood
        ],
        "not_seen": list(found.unseen),
        "not_written": list(drafted.left_out),
    }


def _port_object(port: FoundPort) -> dict[str, Any]:
    return {
        "address": printable(port.socket.address),
        "port": port.socket.port,
        "protocol": port.protocol,
        "proxy_protocol": port.proxy_protocol,
        "server": port.software,
        "process": port.holder.process or None,
        "program": port.holder.program,
        "unit": None if port.holder.unit is None else printable(port.holder.unit),
        "place": port.holder.place,
        "sha256": None if port.leaf is None else port.leaf.sha256,
        "files": [printable(each, 4096) for each in port.files],
    }


def _site_object(site: FoundSite, component: ComponentDraft | None) -> dict[str, Any]:
    files = site.site.files
    return {
        "server": site.software,
        "certificate": printable(files.certificate, 4096),
        "key": None if files.key is None else printable(files.key, 4096),
        "chain": None if files.chain is None else printable(files.chain, 4096),
        "named_by": printable(site.site.file, 4096),
        "names": [printable(each) for each in site.site.names],
        "sha256": None if site.certificate is None else site.certificate.sha256,
        "unit": None if site.unit.name is None else printable(site.unit.name),
        "served_at": [_place(each) for each in site.served_at],
        "differs_at": [_place(each) for each in site.differs_at],
        "component": None if component is None else component.name,
        "only_watched": [] if component is None else list(component.why_watched),
    }

"""`certvigil inventory`: what is installed and served, who issued it, and which clients accept it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from config.immutable import immutable
from config.pattern import is_one_of
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import CertificateOrigin, Sending
from monitor.commands import here
from monitor.commands.choice import unknown
from monitor.commands.client import NoDaemonAnswer, ask
from monitor.commands.complain import complain
from monitor.commands.json_output import print_json
from monitor.commands.screen import INDENT, Screen
from monitor.span import left
from monitor.state.cure import without_cure

if TYPE_CHECKING:
    from config.model import Config

Document = dict[str, Any]

UNKNOWN: Final = 3
_NOTHING: Final = Printable("")
_ORIGIN: Final[Mapping[str, Printable]] = {
    CertificateOrigin.DEFAULT: Printable("the default certificate of the product"),
    CertificateOrigin.SELF_SIGNED: Printable("own, signed by itself"),
    CertificateOrigin.OWN_CA: Printable("own, of a CA that is none of the web PKI"),
    CertificateOrigin.PUBLIC_CA: Printable("own, of a public CA"),
    CertificateOrigin.UNKNOWN: Printable("own, of a CA whose root is not at hand"),
}
_SENDS: Final[Mapping[bool | None, Printable]] = {
    True: Printable("sends its intermediates"),
    False: Printable("sends no intermediates"),
    None: _NOTHING,
}
_COLUMNS: Final = (
    *("verdict", "component", "group", "place", "origin", "subject", "issuer", "names", "begins", "ends"),
    *("as installed", "accepted by", "rejected by", "root lacks in"),
)
"""In a pipe: a line for what is installed, one for each endpoint, and one for each trust store."""


@immutable
class InventoryQuery:
    """What is to be shown, and how it is found out."""

    names: tuple[str, ...] = ()
    """Components, groups, endpoints of no component or trust stores, or patterns; empty for all."""
    config: str = ""
    socket: str = ""
    timeout: float = 5.0
    """Seconds for each endpoint, where no daemon answers."""
    as_json: bool = False


def show_inventory(query: InventoryQuery) -> int:
    """Print the inventory; return 0, or 3 where it cannot be told."""
    here.about(query.config, query.socket)
    found = ask(query.socket, "/api/v1/inventory")
    itself = isinstance(found, NoDaemonAnswer)
    if isinstance(found, NoDaemonAnswer):
        looked = _look(query, found)
        if isinstance(looked, int):
            return looked
        found = looked
    if "components" not in found:
        complain(
            "certvigil inventory: the daemon on {} knows of no inventory; is it of this version?",
            printable(query.socket),
        )
        return UNKNOWN
    known = {name for each in found["components"] for name in (each["component"], each["group"]) if name}
    known |= {each["trust_store"] for each in found["trust_stores"] if each["trust_store"]}
    if wrong := unknown(
        query.names, known | {each["target"] for each in found["endpoints"]}, Printable("component or group")
    ):
        complain("certvigil inventory: {}", wrong)
        return UNKNOWN
    document = _chosen(found, query.names)
    if query.as_json:
        print_json(document)
        return 0
    screen = Screen()
    if screen.width is None:
        screen.table(_COLUMNS, _rows(document))
    else:
        _show(screen, document)
    aside = screen.aside()
    _show_not_looked_at(aside, document)
    if itself:
        aside.say("no daemon answers; this was looked at just now", style="dim")
    return 0


def _chosen(document: Document, names: Sequence[str]) -> Document:
    """Return the document with the components, endpoints and trust stores of those names alone."""
    if not names:
        return document
    return {
        **document,
        "components": [
            each
            for each in document["components"]
            if any(name and is_one_of(name, names) for name in (each["component"], each["group"]))
        ],
        "endpoints": [each for each in document["endpoints"] if is_one_of(each["target"], names)],
        "trust_stores": [
            each for each in document["trust_stores"] if each["trust_store"] and is_one_of(each["trust_store"], names)
        ],
        "not_looked_at": [],
    }


# Looking without a daemon


def _look(query: InventoryQuery, no_daemon: NoDaemonAnswer) -> Document | int:
    """Return the inventory by looks of our own, or the exit code where the configuration has mistakes."""
    # A daemon that answers needs none of this.
    import asyncio  # noqa: PLC0415

    from config.load import load  # noqa: PLC0415

    config = load(query.config, os.environ, secrets=False)
    if isinstance(config, tuple):
        complain("certvigil inventory: {}; and the configuration cannot be read:", no_daemon.why)
        for mistake in config:
            complain("{}", printable(str(mistake), 4096))
        return UNKNOWN
    return asyncio.run(_look_at(_with_own(config), query.timeout))


def _with_own(config: Config) -> Config:
    """Return it with the certificates that the journal knows as the site's own, where that is asked and may be read.

    None of them is a default certificate for being signed by its own key.
    """
    if not any(
        each.default_certificate and each.default_certificate.self_signed for each in config.components.values()
    ):
        return config
    from actions.journal import JournalError  # noqa: PLC0415 (as the rest, of no use where a daemon answers)
    from actions.journal_state import installed  # noqa: PLC0415
    from monitor.commands.audit import journal_state_of  # noqa: PLC0415

    try:
        return config.with_own(installed(journal_state_of(config)))
    except (JournalError, OSError, ValueError, KeyError, TypeError) as error:
        # Without an actor and a journal, nothing was ever installed.
        if not isinstance(error.__cause__, FileNotFoundError):
            said = harmless(str(error))
            complain("certvigil inventory: the journal, by which own certificates are known, cannot be read: {}", said)
    return config


async def _look_at(config: Config, seconds: float) -> Document:
    from monitor.inventory import inventory  # noqa: PLC0415
    from monitor.state.look_once import look_once  # noqa: PLC0415
    from monitor.state.trust import read_trust_context  # noqa: PLC0415

    now = time.time()
    trust_context, _ = read_trust_context(config)
    targets = await look_once(trust_context, now, seconds)
    return inventory(trust_context, targets, now)


# On a terminal


def _show(screen: Screen, document: Document) -> None:
    at = datetime.fromisoformat(document["at"]).timestamp()
    group: str | None = None
    for each in document["components"]:
        if each["group"] != group and each["group"] is not None:
            screen.say("group {}", each["group"], style="bold")
        group = each["group"]
        screen.entry(f"{each['verdict']:<8} ", each["component"], _style(each["verdict"]), "bold")
        _entries(screen, _installed(each, at))
        for served in each["served"]:
            _entries(screen, _served(served, each, at))
    for served in document["endpoints"]:
        screen.entry(f"{served['verdict']:<8} ", served["target"], _style(served["verdict"]), "bold")
        _entries(screen, _served(served, None, at))
    for store in document["trust_stores"]:
        screen.entry(f"{'trust':<8} ", store["trust_store"] or store["path"], "dim", "bold")
        _entries(screen, _store(store, at))


def _style(verdict: str) -> str:
    return {"ok": "green", "warning": "yellow", "critical": "bold red"}.get(verdict, "magenta")


def _entries(screen: Screen, entries: Iterable[tuple[str, Printable]]) -> None:
    for label, text in entries:
        if text:
            screen.entry(f"{INDENT}{label:<9} ", text, "dim")


def _installed(component: Document, at: float) -> Iterator[tuple[str, Printable]]:
    yield "files", listed(each["path"] for each in component["files"])
    for file in component["files"]:
        if file["failure"] is not None:
            yield "", sentence("{}: {}", file["path"], file["failure"]["detail"])
    if component["certificate"] is None:
        yield "installed", Printable("nothing that can be read")
        return
    yield from _certificate(component, at)
    yield from _lacking(component)


def _certificate(issued: Document, at: float) -> Iterator[tuple[str, Printable]]:
    certificate = issued["certificate"]
    yield "origin", _ORIGIN.get(issued["origin"], issued["origin"])
    yield "subject", certificate["subject"] or Printable("(no subject)")
    yield "issuer", certificate["issuer"] or Printable("(no name)")
    yield "names", listed(certificate["names"]) or Printable("(none)")
    yield "valid", _validity(certificate, at)
    yield "chain", listed((each["subject"] for each in issued["chain"]), " > ")


def _validity(certificate: Document, at: float) -> Printable:
    begins, ends = certificate["not_before"], certificate["not_after"]
    if begins is None or ends is None:
        return Printable("for a time that cannot be read")
    rest = left(datetime.fromisoformat(ends).timestamp() - at)
    return sentence("{} to {}, {}", begins, ends, rest)


def _served(served: Document, component: Document | None, at: float) -> Iterator[tuple[str, Printable]]:
    name = (
        _NOTHING if served["address"].startswith(served["server_name"]) else sentence(" as {}", served["server_name"])
    )
    where = sentence("{}{}", served["address"], name)
    if served["failure"] is not None and served["certificate"] is None:
        yield "served", sentence("{}: {}", where, served["failure"]["detail"])
        return
    if served["certificate"] is None:
        yield "served", sentence("{}: not seen yet", where)
        return
    same = served["as_installed"]
    what = Printable("the installed certificate") if same else Printable("another certificate")
    said = [what if same is not None else Printable("a certificate"), _sending(served)]
    said += [sentence("{} {}", each["version"], each["cipher"]) for each in served["negotiated"][:1]]
    yield "served", sentence("{}: {}", where, listed(filter(None, said)))
    if same is not True:
        yield from _certificate(served, at)
        if component is None or same is False:
            yield from _lacking(served)
    accepting = [each for each in served["clients"] if each["accepts"] and not each["why"]]
    yield "accept", listed(each["client"] for each in accepting)
    for each in served["clients"]:
        if not each["accepts"]:
            yield "rejects", sentence("{}: {}", each["client"], harmless(each["why"]))
        elif each["why"]:
            yield (
                "",
                sentence("{} connects, and would reject if it validated: {}", each["client"], harmless(each["why"])),
            )
        if each["unvalidated"]:
            yield "", sentence("{} does not validate: {}", each["client"], harmless(without_cure(each["unvalidated"])))


def _sending(served: Document) -> Printable:
    sends, expected = served["sends_intermediates"], served["expected_to_send"]
    if sends is False and expected == Sending.NOT_EXPECTED:
        return Printable("sends no intermediates, and is not expected to")
    return _SENDS[sends]


def _lacking(issued: Document) -> Iterator[tuple[str, Printable]]:
    for each in issued["lacking_root"]:
        yield (
            "lacking",
            sentence(
                "{}, which {} trust, lacks {}", each["trust_store"], listed(each["clients"], " and "), each["root"]
            ),
        )


def _store(store: Document, at: float) -> Iterator[tuple[str, Printable]]:
    yield "path", store["path"] if store["trust_store"] else _NOTHING
    yield "clients", listed(store["clients"])
    twice = sentence(", {} of them twice", store["duplicates"]) if store["duplicates"] else _NOTHING
    if store["entries"] is None:
        yield "entries", Printable("not known: it cannot be read")
        return
    yield "entries", sentence("{}{}", store["entries"], twice)
    yield "ended", listed(store["ended"], "; ")
    for label, key in (("first end", "earliest_end"), ("next end", "next_end")):
        end = store[key]
        if end is not None and (key == "earliest_end" or end != store["earliest_end"]):
            rest = left(datetime.fromisoformat(end["at"]).timestamp() - at)
            yield label, sentence("{}, {}: {}", end["at"], rest, end["entry"])


def _show_not_looked_at(screen: Screen, document: Document) -> None:
    for each in document["not_looked_at"]:
        screen.say("not looked at: {}/{}: {}", each["address"], each["transport"], each["reason"], style="dim")


# In a pipe


def _rows(document: Document) -> Iterator[tuple[Printable, ...]]:
    for each in document["components"]:
        paths = listed(file["path"] for file in each["files"])
        yield _row(each, each["component"], each["group"], paths, each["verdict"])
        for served in each["served"]:
            yield _row(served, each["component"], each["group"], served["target"], served["verdict"])
    for served in document["endpoints"]:
        yield _row(served, _NOTHING, None, served["target"], served["verdict"])
    for store in document["trust_stores"]:
        yield _row_of_store(store)


def _row(
    issued: Document, component: Printable, group: Printable | None, place: Printable, verdict: Printable
) -> tuple[Printable, ...]:
    certificate = issued["certificate"] or {"subject": "", "issuer": "", "names": [], "not_before": "", "not_after": ""}
    same, clients = issued.get("as_installed"), issued.get("clients", ())
    return (
        verdict,
        component,
        group or _NOTHING,
        place,
        issued["origin"] or _NOTHING,
        certificate["subject"],
        certificate["issuer"],
        listed(certificate["names"]),
        certificate["not_before"] or _NOTHING,
        certificate["not_after"] or _NOTHING,
        _NOTHING if same is None else Printable("yes") if same else Printable("no"),
        listed(map(_accepting, (each for each in clients if each["accepts"]))),
        listed(each["client"] for each in clients if not each["accepts"]),
        listed(dict.fromkeys(each["trust_store"] for each in issued["lacking_root"])),
    )


def _row_of_store(store: Document) -> tuple[Printable, ...]:
    """Return the line of a trust store: as component its name, and of its entries the one that ends first."""
    first = store["earliest_end"] or {"entry": "", "at": ""}
    cells = dict.fromkeys(_COLUMNS, _NOTHING) | {
        "verdict": Printable("trust"),
        "component": store["trust_store"] or _NOTHING,
        "place": store["path"],
        "subject": first["entry"],
        "ends": first["at"],
    }
    return tuple(cells[each] for each in _COLUMNS)


def _accepting(client: Document) -> Printable:
    """Return the name of a client that connects, and whether it validates nothing."""
    unvalidated = client["why"] or client["unvalidated"]
    return sentence("{} (connects without validation)", client["client"]) if unvalidated else client["client"]

"""`certvigil csr`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from actions.csr import CsrOrder, wrong_order
from config.immutable import immutable
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import RequestKey
from monitor.actor.handed import CandidateFiles
from monitor.actor.request import Document, Request, Verb
from monitor.commands.act import ActOptions, answer_to
from monitor.commands.complain import complain
from monitor.commands.json_output import print_json
from monitor.commands.new_file import why_not_new, write_new_file
from monitor.commands.outcome import cannot
from monitor.commands.screen import Screen

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]{1,20000}-----END CERTIFICATE REQUEST-----\n"
)
"""Whoever answers in the place of the actor writes nothing else to a terminal or a file."""
_WHAT: Final = "a request"


@immutable
class CsrQuery:
    """The request that is wanted."""

    component: str | None
    names: tuple[str, ...]
    key: RequestKey | None
    installed: bool
    subject: str | None
    days: int
    dry_run: bool

    @property
    def order(self) -> CsrOrder:
        """The same, as the actor takes it."""
        return CsrOrder(
            self.names, self.subject, self.key, installed=self.installed, days=self.days, dry_run=self.dry_run
        )


def part_of_answer(
    request: Request, key: str, options: ActOptions, handed: CandidateFiles | None = None
) -> Document | int:
    """Return the answer that has a part called `key`; else say why there is none, and return the exit code."""
    document = answer_to(request, options, handed)
    if isinstance(document, dict) and "cannot" in document:
        return cannot("{}", harmless(str(document["cannot"])))
    if isinstance(document, dict) and key not in document:
        return cannot("the answer of the actor is not understood: {}", printable(str(document), 200))
    return document


def csr(
    query: CsrQuery,
    *,
    out: str | None,
    show_all: bool,
    show: str,
    cancel: str,
    why: str,
    config: str,
    as_json: bool,
) -> int:
    """Make a request, list the requests that wait, print one again or withdraw one; return the exit code."""
    if sum(map(bool, (show_all, show, cancel))) > 1:
        return cannot("--list, --show and --cancel are three things to do: give one of them")
    options = ActOptions(config, as_json=as_json)
    if cancel:
        return _cancel(Request(Verb.CANCEL, key=cancel.lower(), why=why), options)
    named = (query.component,) if query.component is not None else ()
    if show_all or show:
        return _list(Request(Verb.REQUESTS, components=named), options, show.lower(), out)
    if not named:
        return cannot("a request is for a component or a group: name one, or --list")
    if (wrong := wrong_order(query.order)) is not None:
        return cannot("{}", wrong)
    if out is not None and not query.dry_run and (trouble := why_not_new(out, _WHAT)) is not None:
        return cannot("{}", trouble)
    document = part_of_answer(Request(Verb.CSR, components=named, csr=query.order), "csr", options)
    if not isinstance(document, dict):
        return document
    made = document["csr"]
    if made["made"] and (wrong := _no_request(made["pem"])) is not None:
        return cannot("{}", wrong)
    if as_json:
        print_json(document)
    else:
        _describe(made)
        if made["made"] and out is None:
            sys.stdout.write(made["pem"])
    return _written(out, made) if made["made"] else 0


def _cancel(request: Request, options: ActOptions) -> int:
    document = part_of_answer(request, "cancelled", options)
    if not isinstance(document, dict):
        return document
    if options.as_json:
        print_json(document)
    else:
        Screen().say("cancelled  the request with the key {}", document["cancelled"])
    return 0


def _list(request: Request, options: ActOptions, wanted: str, out: str | None) -> int:
    document = part_of_answer(request, "requests", options)
    if not isinstance(document, dict):
        return document
    found = [each for each in document["requests"] if each["key"].startswith(wanted)]
    if wanted and len(found) != 1:
        number = Printable("more than one request") if found else Printable("no request")
        return cannot("{} that waits has a key that begins with {}", number, printable(wanted, 100))
    if options.as_json:
        print_json({**document, "requests": found})
        return 0
    if wanted and (wrong := _no_request(found[0]["pem"])) is not None:
        return cannot("{}", wrong)
    if wanted and out is not None:
        return cannot("{}", trouble) if (trouble := why_not_new(out, _WHAT)) is not None else _written(out, found[0])
    if wanted:
        sys.stdout.write(found[0]["pem"])
    elif found:
        Screen().table(("key", "of", "names", "made", "until", "by"), _rows(found))
    else:
        Screen().say("no request waits")
    return 0


def _no_request(pem: str) -> Printable | None:
    return None if _PEM.fullmatch(pem) else sentence("this is no request: {}", printable(pem, 200))


def _rows(found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Printable, ...]]:
    for each in found:
        until = sentence("{} (over)", each["until"]) if each["expired"] else each["until"]
        kind = Printable(" (the installed key)") if each["installed"] else Printable("")
        of = each["group"] or listed(each["components"])
        yield sentence("{}{}", each["key"][:16], kind), of, listed(each["names"]), each["at"], until, each["by"]


def _describe(made: Mapping[str, Any]) -> None:
    """Say on standard error what a request asks for: standard output is the request itself."""
    of = made["group"] or listed(made["components"])
    kind = sentence("a new key, {}", harmless(made["kind"])) if made.get("kind") else sentence("key {}", made["key"])
    said = Printable("is made") if made["made"] else Printable("would be made")
    complain("{}: a request {}; {}; names: {}; it waits until {}", of, said, kind, listed(made["names"]), made["until"])


def _written(out: str | None, made: Mapping[str, Any]) -> int:
    """Write a request to a new file, where one is wanted; return the exit code."""
    if out is None:
        return 0
    try:
        write_new_file(out, made["pem"].encode())
    except OSError as error:
        return cannot(
            "the request is made, and {} cannot be written: {}; `certvigil csr --show {}` prints it",
            printable(out),
            printable(error.strerror or str(error)),
            printable(made["key"][:16]),
        )
    return 0

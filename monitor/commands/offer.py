"""`certvigil offer`: to bring certificates, to list what was brought, and to take one out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from actions.candidate import Given
from actions.world import World
from config.text import Printable, harmless, listed, printable, sentence
from monitor.actor.handed import CandidateFiles
from monitor.actor.offers import examined
from monitor.actor.request import MOST_OFFERED, Request, Verb
from monitor.commands.act import ActOptions
from monitor.commands.csr import part_of_answer
from monitor.commands.json_output import print_json
from monitor.commands.outcome import cannot
from monitor.commands.screen import Screen


def offer(
    component: str | None,
    paths: Sequence[str],
    *,
    show_all: bool,
    withdraw: str,
    why: str,
    config: str,
    as_json: bool,
) -> int:
    """Offer certificates, list the offers, or take one out; return the exit code."""
    options = ActOptions(config, as_json=as_json)
    named = () if component is None else (component,)
    if sum((bool(paths), show_all, bool(withdraw))) > 1:
        return cannot("files to offer, --list and --withdraw are three things to do: give one of them")
    if withdraw:
        return _withdraw(Request(Verb.WITHDRAW, components=named, key=withdraw.lower(), why=why), options)
    if show_all:
        return _list(Request(Verb.OFFERS, components=named), options)
    if component is None or not paths:
        return cannot("an offer is for a component or a group, with files: name both, or --list")
    return _bring(component, paths, options)


def _bring(component: str, paths: Sequence[str], options: ActOptions) -> int:
    world = World()
    if len(paths) > MOST_OFFERED:
        return cannot("an offer has at most {} files", MOST_OFFERED)
    try:
        files = [Given(printable(path), world.read(world.resolve(path))[1]) for path in paths]
    except OSError as error:
        return cannot("{} cannot be read: {}", printable(str(error.filename)), printable(str(error.strerror)))
    # What is no offer does not leave this process: it may be a key.
    found = examined(files)
    if isinstance(found, str):
        return cannot("{}", found)
    handed = CandidateFiles((Given("offer", b"".join(each.der for each in found)),))
    document = part_of_answer(Request(Verb.OFFER, components=(component,)), "offered", options, handed)
    if not isinstance(document, dict):
        return document
    if options.as_json:
        print_json(document)
        return 0
    Screen().say(
        "offered    {}: certificates: {}; `certvigil plan {}` shows what they are for",
        printable(component),
        len(document["offered"]["certificates"]),
        printable(component),
    )
    return 0


def _withdraw(request: Request, options: ActOptions) -> int:
    document = part_of_answer(request, "withdrawn", options)
    if not isinstance(document, dict):
        return document
    if options.as_json:
        print_json(document)
    else:
        name, component = (printable(str(document[each])) for each in ("withdrawn", "component"))
        Screen().say("withdrawn  the offer {} for {}", name, component)
    return 0


def _list(request: Request, options: ActOptions) -> int:
    document = part_of_answer(request, "offers", options)
    if not isinstance(document, dict):
        return document
    if options.as_json:
        print_json(document)
        return 0
    screen = Screen()
    if not document["offers"]:
        screen.say("nothing is offered")
        return 0
    screen.table(("offer", "for", "brought by", "at", "by way of", "certificates"), _rows(document["offers"]))
    if document["more"]:
        screen.say("and {} more", int(document["more"]))
    return 0


def _rows(offers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Printable, ...]]:
    for each in offers:
        content = (
            sentence("not used: {}", harmless(str(each["unusable"])))
            if "unusable" in each
            else listed((harmless(str(one["subject"])) for one in each["certificates"]), "; ")
        )
        known = (printable(str(each[key])) for key in ("component", "by", "at", "way"))
        yield (printable(str(each["offer"])[:16]), *known, content)

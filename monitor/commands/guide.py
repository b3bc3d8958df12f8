"""`certvigil guide`: runbooks with the names of this host."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from config.document import Mistake
from config.guide import Facts, Proof, RunbookStep, StepKind, Topic, Topics, fill, plain, read, title, why_not
from config.immutable import immutable
from config.model import Config
from config.text import Printable, harmless, listed, printable, sentence
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.guide.facts import facts_of_host
from monitor.guide.markdown import command_line, markdown

UNUSABLE: Final = 3
"""There is no such topic, it does not apply here, or the configuration has mistakes."""


@immutable
class GuideOptions:
    """How a topic is printed, and a fact that files may not tell."""

    config: str
    default_config: str
    as_json: bool = False
    as_markdown: bool = False
    chain: bool | None = None
    """Whether intermediates are in use."""


def guide(name: str | None, options: GuideOptions) -> int:
    """Print a topic, or list the topics that apply here; return 3 where that cannot be done."""
    config = loaded(options.config)
    if config is None:
        return UNUSABLE
    found = topics(config)
    if isinstance(found, Mistake):
        complain("{}", harmless(str(found)))
        return UNUSABLE
    facts = known_facts(config, options)
    if name is None:
        _list(found, facts, options)
        return 0
    topic = _chosen(name, found, facts)
    if isinstance(topic, Topic):
        _print(topic, options)
        return 0
    complain("certvigil guide: {}", topic)
    return UNUSABLE


def topics(config: Config) -> Topics | Mistake:
    """Return the topics of a configuration, or the first mistake in the site's own; others are complained of."""
    found = read(config.profile, config.guides)
    for each in found.mistakes[1:]:
        complain("{}", harmless(str(each)))
    return found.mistakes[0] if found.mistakes else found


def known_facts(config: Config, options: GuideOptions) -> Facts:
    """Return the facts for the topics."""
    path = "" if options.config == options.default_config else os.path.abspath(options.config)
    return facts_of_host(config, config_path=path, chain=options.chain)


def _chosen(name: str, found: Topics, facts: Facts) -> Topic | Printable:
    if not found.topics:
        return Printable("there is no topic: name a 'profile' or a directory 'guides' in the configuration")
    topic = found.topics.get(name)
    if topic is None:
        wrong = unknown([name], tuple(found.topics), Printable("topic"))
        return wrong or Printable("name one topic, not a pattern")
    if (why := why_not(topic, facts)) is not None:
        return sentence("'{}' does not apply here: {}", printable(name, 200), why)
    return fill(topic, facts)


def _list(found: Topics, facts: Facts, options: GuideOptions) -> None:
    rows = [
        (printable(name), plain(title(each, facts)), why_not(each, facts) or Printable(""))
        for name, each in found.topics.items()
    ]
    if options.as_json:
        listed_topics = [{"topic": name, "title": of, "applies": not why, "why_not": why} for name, of, why in rows]
        print_json({"topics": listed_topics})
        return
    screen = Screen()
    screen.table(("topic", "title"), [(name, of) for name, of, why in rows if not why])
    for name, _, why in rows:
        if why:
            screen.aside().say("{} does not apply here: {}", name, why, style="dim")


def _print(topic: Topic, options: GuideOptions) -> None:
    screen = Screen()
    if options.as_json:
        print_json(document(topic))
    elif options.as_markdown or screen.width is None:
        sys.stdout.write(markdown(topic))
    else:
        _draw(screen, topic)


def document(topic: Topic) -> dict[str, Any]:
    """Return a topic as JSON has it."""
    return {
        "topic": topic.name,
        "title": plain(topic.title),
        "about": [plain(each) for each in topic.about],
        "steps": [_step_document(each) for each in topic.steps],
        "proof": [_proof_document(each) for each in topic.proofs],
        "left_out": list(topic.left_out),
    }


def _step_document(step: RunbookStep) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "text": plain(step.text),
        "language": step.language if step.lines else None,
        "lines": list(step.lines),
    }


def _proof_document(proof: Proof) -> dict[str, Any]:
    return {
        "command": list(proof.command),
        "exit": proof.exit,
        "prints": list(proof.prints),
        "means": plain(proof.means),
    }


def _draw(screen: Screen, topic: Topic) -> None:
    screen.say("{}", plain(topic.title), style="bold")
    for paragraph in topic.about:
        screen.say("")
        screen.say("{}", plain(paragraph))
    number = 0
    if topic.steps[:1] and topic.steps[0].kind is not StepKind.HEADING:
        screen.say("")
    for step in topic.steps:
        if step.kind is StepKind.HEADING:
            screen.say("")
            screen.say("{}", plain(step.text), style="bold")
            continue
        number += 1
        box = "[ ] " if step.kind is StepKind.ASK else ""
        screen.entry(f"{number:>3}. {box}", plain(step.text), "dim")
        for line in step.lines:
            screen.verbatim(sentence("       {}", line), "cyan")
    if topic.proofs:
        screen.say("")
        screen.say("To prove that it worked", style="bold")
    for proof in topic.proofs:
        screen.verbatim(sentence("     {}", command_line(proof)), "cyan")
        screen.entry("     ", said(proof))
    if topic.left_out:
        screen.say("")
        screen.say("Left out here, since they are not known: {}.", listed(topic.left_out), style="yellow")


def said(proof: Proof) -> Printable:
    """Return the expected exit code and output of a proof, and its meaning."""
    expected = []
    if proof.exit is not None:
        expected.append(sentence("exits with {}", proof.exit))
    if proof.prints:
        expected.append(sentence("prints {}", listed(proof.prints, " and ")))
    first = sentence("It {}. ", listed(expected, " and ")) if expected else Printable("")
    return sentence("{}{}", first, plain(proof.means))

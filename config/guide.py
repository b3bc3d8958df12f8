"""Topics of `certvigil guide`: runbooks as data, filled with facts of this host.

A topic is a YAML file (`config.schema.guide.TopicSection` has its keys). A profile ships topics in a directory beside
it, and a site has others in its own directory. The language is closed: a condition on facts, a repetition for each item
of a list, and `${FACT}`. A fact is text, a command or a list. Its spelling depends on the place: a code span in a
sentence, one word in a shell command, a string in single quotes in PowerShell. A part of a topic that names an unknown
fact is left out, and the topic says so.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from config.document import Mistake, parse
from config.immutable import immutable
from config.schema.guide import VARIABLE, ConditionSection, ProofSection, StepSection, TopicSection, read_topic
from config.schema.problem import problems, schema_of
from config.text import Printable, harmless, listed, printable, sentence
from config.trusted import is_read_only, unsafe

_Made = TypeVar("_Made")
_Written = TypeVar("_Written", bound=ConditionSection)
SUFFIX: Final = ".yaml"
_LARGEST: Final = 1024 * 1024
"""Bytes of a topic."""
_MARKUP: Final = re.compile(r"\*\*(?P<name>[^*]+)\*\*|`(?P<code>[^`]+)`|(?P<fact>\$\{[A-Za-z0-9_.-]+\})")

_BLANK_AND_FACT: Final = re.compile(rf" {VARIABLE.pattern}")


class Words(tuple[str, ...]):
    """A command, or some of its arguments, as a fact."""

    __slots__ = ()


Item = Mapping[str, "str | Words"]
Fact = str | Words | Sequence[str | Item]
Facts = Mapping[str, Fact]
"""Facts by name, such as `portal.key`; an empty text or list counts as unknown."""


class RunKind(StrEnum):
    """The kind of a piece of a sentence."""

    TEXT = "text"
    NAME = "name"
    """A menu, a button or a field of a program, by its label."""
    CODE = "code"
    """Literal text: a path, an address, a command."""


class Run(NamedTuple):
    """A piece of a sentence."""

    kind: RunKind
    text: Printable


MarkedSentence = tuple[Run, ...]


class Language(StrEnum):
    """The language of a block of lines."""

    SHELL = "sh"
    POWERSHELL = "powershell"
    TEXT = "text"


class StepKind(StrEnum):
    """The kind of a part of a topic."""

    DO = "step"
    ASK = "question"
    """A statement that a person confirms."""
    HEADING = "heading"


@immutable
class RunbookStep:
    """A step, with lines to be typed or written."""

    kind: StepKind
    text: MarkedSentence
    language: Language = Language.TEXT
    lines: tuple[Printable, ...] = ()


@immutable
class Proof:
    """A command of certvigil, and the output that proves the result."""

    command: tuple[Printable, ...]
    """With `certvigil` as its first word."""
    exit: int | None
    prints: tuple[Printable, ...]
    means: MarkedSentence


@immutable
class Topic:
    """A topic, filled with facts."""

    name: str
    title: MarkedSentence
    about: tuple[MarkedSentence, ...]
    steps: tuple[RunbookStep, ...]
    proofs: tuple[Proof, ...]
    left_out: tuple[Printable, ...] = ()
    """Facts that are not known here: the parts with them are left out."""


@immutable
class WrittenTopic:
    """A topic as it is written."""

    name: str
    section: TopicSection


class Topics(NamedTuple):
    """Topics by name, and the mistakes because of which others were not read."""

    topics: Mapping[str, WrittenTopic]
    mistakes: tuple[Mistake, ...]


# Reading


def read(profile: str | None, directory: str | None) -> Topics:
    """Return the topics of a profile, and those of a site; of two with the same name, the site's."""
    topics: dict[str, WrittenTopic] = {}
    for name, data in _shipped(profile):
        topic, wrong = _topic(name, data(), f"guide {name}")
        if topic is None:
            raise ValueError(f"the guide {name} is shipped with mistakes: {wrong}")
        topics[name] = topic
    mistakes: list[Mistake] = []
    for name, data_or_mistake in _site(directory) if directory is not None else ():
        if isinstance(data_or_mistake, Mistake):
            mistakes.append(data_or_mistake)
            continue
        topic, wrong = _topic(name, data_or_mistake, os.path.join(cast("str", directory), f"{name}{SUFFIX}"))
        mistakes.extend(wrong)
        if topic is not None:
            topics[name] = topic
    ordered = sorted(topics.values(), key=lambda each: (each.section.place, each.name))
    return Topics({each.name: each for each in ordered}, tuple(mistakes))


def _shipped(profile: str | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if profile is None:
        return
    directory = files("config") / "profiles" / profile / "guide"
    if directory.is_dir():
        for each in directory.iterdir():
            if each.name.endswith(SUFFIX):
                yield each.name.removesuffix(SUFFIX), each.read_bytes


def _names_in(directory: str) -> list[str]:
    found = (each for each in os.listdir(directory) if each.endswith(SUFFIX) and not each.startswith("."))
    return sorted(each.removesuffix(SUFFIX) for each in found)


def _site(directory: str) -> Iterator[tuple[str, bytes | Mistake]]:
    try:
        found = _names_in(directory)
    except OSError as error:
        yield "", Mistake(printable(directory), 0, "", f"{error.strerror}, expected a directory that can be read")
        return
    for name in found:
        path = os.path.join(directory, f"{name}{SUFFIX}")
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                # Whoever may write a runbook has commands typed by others.
                problem = "" if is_read_only(file.fileno()) else unsafe(status, user=os.geteuid(), sticky_is_safe=False)
                data = file.read(_LARGEST + 1)
        except OSError as error:
            yield name, Mistake(printable(path), 0, "", f"{error.strerror}, expected a file that can be read")
            continue
        if len(data) > _LARGEST:
            problem = f"too large, expected at most {_LARGEST} bytes"
        yield name, Mistake(printable(path), 0, "", problem) if problem else data


def _topic(name: str, data: bytes, file: str) -> tuple[WrittenTopic | None, tuple[Mistake, ...]]:
    document, mistakes = parse(data, file)
    if document is None or mistakes:
        return None, tuple(mistakes)
    try:
        return WrittenTopic(name, read_topic(document.values)), ()
    except ValidationError as error:
        found = problems(error.errors(include_url=False), schema_of(TopicSection), document)
        return None, tuple(document.mistake(*each) for each in found)


# Filling


def why_not(topic: WrittenTopic, facts: Facts) -> Printable | None:
    """Return why a topic does not apply, the end of a sentence; None where it does."""
    for name, wanted in topic.section.when.items():
        if _text(facts.get(name, "")) not in wanted:
            found = printable(_text(facts.get(name, "")) or "unknown")
            words = listed((harmless(each) for each in wanted), " or ")
            return sentence("{} is {}, expected {}", harmless(name), found, words)
    for name in topic.section.needs:
        if not facts.get(name):
            return sentence("{} is not known", harmless(name))
    return None


def fill(topic: WrittenTopic, facts: Facts) -> Topic:
    """Return a topic with these facts."""
    filling, section = _Filling(facts, {}), topic.section
    about = filling.filled(section.about, lambda each, scope: _sentence(each.text, scope))
    steps = _with_content(filling.filled(section.steps, _step))
    proofs = filling.filled(section.proof, _proof)
    return Topic(topic.name, title(topic, facts), about, steps, proofs, tuple(filling.missing))


def title(topic: WrittenTopic, facts: Facts) -> MarkedSentence:
    """Return the title of a topic."""
    return _sentence(topic.section.title, facts)


def plain(text: MarkedSentence) -> Printable:
    """Return a sentence without marks; names of menus, buttons and fields are in quotes."""
    pieces = (sentence('"{}"', each.text) if each.kind is RunKind.NAME else each.text for each in text)
    return listed(pieces, "")


class _UnknownFactError(Exception):
    """A text names a fact that is not known."""


@dataclass(slots=True)
class _Filling:
    facts: Facts
    missing: dict[Printable, None]

    def filled(self, items: Sequence[_Written], make: Callable[[_Written, Facts], _Made]) -> tuple[_Made, ...]:
        """Return the items that are part of the topic; an unknown fact of an item that is left out is noted."""
        made: list[_Made] = []
        for item in items:
            for scope in self.scopes(item):
                try:
                    made.append(make(item, scope))
                except _UnknownFactError as error:
                    self.missing[printable(str(error))] = None
        return tuple(made)

    def scopes(self, item: ConditionSection) -> list[Facts]:
        """Return the facts for each repetition of an item."""
        scopes: list[Facts] = [self.facts]
        for variable, name in item.for_each.items():
            items = self.facts.get(name, ())
            each_of = [items] if isinstance(items, str | Words) else items
            scopes = [{**scope, **_bound(variable, each)} for scope in scopes for each in each_of if each]
        return [
            scope
            for scope in scopes
            if all(_text(scope.get(name, "")) in wanted for name, wanted in item.when.items())
            and all(scope.get(name) for name in item.needs)
            and all(scope.get(one) != scope.get(other) for one, other in item.differs.items())
        ]


def _bound(variable: str, item: str | Words | Item) -> Facts:
    if isinstance(item, str | Words):
        return {variable: item}
    return {f"{variable}.{key}": value for key, value in item.items()}


def _text(fact: Fact) -> str:
    if isinstance(fact, str):
        return fact
    return shlex.join(fact) if isinstance(fact, Words) else ""


def _fact(name: str, facts: Facts) -> str | Words:
    found = facts.get(name)
    # A command without words is known: it stands for options that are not needed here.
    if not isinstance(found, str | Words) or found == "":
        raise _UnknownFactError(name)
    return found


def _sentence(template: str, facts: Facts) -> MarkedSentence:
    runs: list[Run] = []
    end = 0
    for match in _MARKUP.finditer(template):
        if match.start() > end:
            runs.append(Run(RunKind.TEXT, printable(template[end : match.start()], len(template))))
        kind = RunKind.NAME if match["name"] else RunKind.CODE
        runs.append(Run(kind, _literal(match["name"] or match["code"] or match["fact"], facts)))
        end = match.end()
    if end < len(template):
        runs.append(Run(RunKind.TEXT, printable(template[end:], len(template))))
    return tuple(runs)


def _literal(template: str, facts: Facts) -> Printable:
    """Return a text in which each fact stands as it is, made printable."""
    needed = _BLANK_AND_FACT.sub(lambda match: "" if facts.get(match[1]) == Words() else match[0], template)
    return harmless(VARIABLE.sub(lambda match: _shown(_fact(match[1], facts)), needed))


def _shown(fact: str | Words) -> str:
    return _shell(fact) if isinstance(fact, Words) else harmless(fact)


def _shell(fact: str | Words) -> str:
    """Return a fact as one word of a shell, or a command as its words."""
    words = fact if isinstance(fact, Words) else (fact,)
    return " ".join(shlex.quote(harmless(each)) for each in words)


_ENDS_POWERSHELL_STRING: Final = re.compile(
    "(['\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
    "\N{SINGLE LOW-9 QUOTATION MARK}\N{SINGLE HIGH-REVERSED-9 QUOTATION MARK}])"
)
"""Characters that PowerShell takes for the end of a string in single quotes; two of them are one character of it."""


def powershell_string(text: str) -> Printable:
    """Return a text as a string of PowerShell in which nothing is expanded."""
    return sentence("'{}'", harmless(_ENDS_POWERSHELL_STRING.sub(r"\1\1", harmless(text))))


_SPELLING: Final[Mapping[Language, Callable[[str | Words], str]]] = {
    Language.SHELL: _shell,
    Language.POWERSHELL: lambda fact: powershell_string(_shown(fact)),
    Language.TEXT: _shown,
}


def _step(step: StepSection, facts: Facts) -> RunbookStep:
    kind = StepKind.HEADING if step.heading else StepKind.ASK if step.ask else StepKind.DO
    language, templates = next(
        (found for found in ((Language.SHELL, step.sh), (Language.POWERSHELL, step.powershell)) if found[1]),
        (Language.TEXT, step.text),
    )
    spelt = _SPELLING[language]
    lines = tuple(
        harmless(VARIABLE.sub(lambda match: spelt(_fact(match[1], facts)), each).rstrip()) for each in templates
    )
    return RunbookStep(kind, _sentence(step.heading or step.ask or step.do, facts), language, lines)


def _proof(proof: ProofSection, facts: Facts) -> Proof:
    command: list[Printable] = [Printable("certvigil")]
    for argument in proof.certvigil:
        whole = VARIABLE.fullmatch(argument)
        # Options that are not needed here are a command without words.
        if whole and isinstance(facts.get(whole[1]), Words):
            command.extend(harmless(each) for each in cast("Words", facts[whole[1]]))
        else:
            command.append(_literal(argument, facts))
    prints = tuple(_literal(each, facts) for each in proof.prints)
    return Proof(tuple(command), proof.exit, prints, _sentence(proof.means, facts))


def _with_content(steps: Sequence[RunbookStep]) -> tuple[RunbookStep, ...]:
    """Return the steps without headings over nothing."""
    following = (*steps[1:], None)
    return tuple(
        step
        for step, after in zip(steps, following, strict=True)
        if step.kind is not StepKind.HEADING or (after is not None and after.kind is not StepKind.HEADING)
    )

"""A topic of `certvigil guide` as Markdown (CommonMark, with the check boxes of GitHub's dialect)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from config.guide import Language, MarkedSentence, Proof, RunbookStep, RunKind, StepKind, Topic
from config.text import Printable, harmless
from monitor.notify.text import escaped

_BACKTICKS = re.compile("`+")


def markdown(topic: Topic) -> str:
    """Return the whole topic."""
    return "\n".join(_lines(topic)) + "\n"


def _lines(topic: Topic) -> Iterator[str]:
    yield f"# {_sentence(topic.title)}"
    for paragraph in topic.about:
        yield from ("", _sentence(paragraph))
    number = 0
    for step in topic.steps:
        yield ""
        if step.kind is StepKind.HEADING:
            yield f"## {_sentence(step.text)}"
            continue
        number += 1
        yield from _step(number, step)
    if topic.proofs:
        yield from ("", "## To prove that it worked")
        for proof in topic.proofs:
            yield from ("", *_block(Language.SHELL, [command_line(proof)]), "", proof_text(proof))
    if topic.left_out:
        yield from ("", f"Left out here, since they are not known: {', '.join(map(code, topic.left_out))}.")


def _step(number: int, step: RunbookStep) -> Iterator[str]:
    box = "[ ] " if step.kind is StepKind.ASK else ""
    yield f"{number}. {box}{_sentence(step.text)}"
    if step.lines:
        indent = " " * (len(str(number)) + 2)
        yield ""
        yield from (f"{indent}{line}" for line in _block(step.language, step.lines))


def _block(language: Language, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    fence = "`" * max(3, _longest("\n".join(lines)) + 1)
    yield f"{fence}{language}"
    yield from lines
    yield fence


def proof_text(proof: Proof) -> str:
    """Return the expected exit code and output, and the meaning, as a paragraph."""
    expected = []
    if proof.exit is not None:
        expected.append(f"exits with {proof.exit}")
    if proof.prints:
        expected.append(f"prints {' and '.join(map(code, proof.prints))}")
    said = f"It {' and '.join(expected)}." if expected else ""
    return " ".join(filter(None, (said, _sentence(proof.means))))


def command_line(proof: Proof) -> Printable:
    """Return the command of a proof for a shell."""
    return harmless(shlex.join(proof.command))


def _sentence(text: MarkedSentence) -> str:
    return "".join(
        code(each.text)
        if each.kind is RunKind.CODE
        else f"**{escaped(each.text)}**"
        if each.kind is RunKind.NAME
        else escaped(each.text)
        for each in text
    )


def code(text: str) -> str:
    """Return a code span, which may hold backticks (CommonMark 0.31, 6.1)."""
    fence = "`" * (_longest(text) + 1)
    space = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{space}{text}{space}{fence}"


def _longest(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)

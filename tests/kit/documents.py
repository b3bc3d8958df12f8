"""The documents as they are read: their code blocks, headings, links and inline code, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HISTORY: Final = ROOT / "CHANGELOG.md"
"""It names what there was, and is held by nothing."""
DOCUMENTS: Final = tuple(sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {HISTORY}))

_FENCE: Final = re.compile(r"^(```+)(\S*)[^`]*$")
_INDENTED: Final = re.compile(r"^ {4,}\S")
_INLINE: Final = re.compile(r"(`+)(.+?)\1")
_HEADING: Final = re.compile(r"^#{1,6} +(.*)$")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?<!\S)<(https?://[^>]+)>")


@dataclass(frozen=True, slots=True)
class Text:
    """Some text of a document."""

    where: str
    """Such as docs/start.md:12."""
    text: str
    language: str = ""
    """Of a code block."""


@dataclass(frozen=True, slots=True)
class _DocumentParts:
    blocks: tuple[Text, ...]
    lines: tuple[Text, ...]
    """Every line that is in no fenced code block."""


def name(path: Path) -> str:
    """Return a document's path as it is shown."""
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> tuple[Text, ...]:
    """Return the code blocks of a document, indented ones included."""
    parts = _parts(path)
    return (*parts.blocks, *(each for each in parts.lines if _INDENTED.match(each.text)))


def inline(path: Path) -> Iterator[Text]:
    """Yield each piece of inline code; one may begin on a line and end on the next."""
    prose = [each for each in _parts(path).lines if not _INDENTED.match(each.text)]
    for first, second in pairwise((*prose, Text("", ""))):
        found = list(_INLINE.finditer(first.text))
        yield from (Text(first.where, match[2]) for match in found)
        rest = _INLINE.sub("", first.text)
        if rest.count("`") == 1 and "`" in second.text:
            yield Text(first.where, f"{rest.partition('`')[2]} {second.text.partition('`')[0].strip()}")


def line_of(text: Text, at: int) -> str:
    """Return the place of the character `at` of a text."""
    document, _, line = text.where.rpartition(":")
    inside = text.text.count("\n", 0, at) + 1 if text.language or "\n" in text.text else 0
    return f"{document}:{int(line) + inside}"


def links(path: Path) -> Iterator[Text]:
    """Yield the target of each link."""
    for line in _parts(path).lines:
        for match in _LINK.finditer(_INLINE.sub("", line.text)):
            yield Text(line.where, match[1] or match[2])


def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a document's headings, as GitHub and MyST make them; those of what it includes, too."""
    found = set()
    for line in _parts(path).lines:
        if match := _HEADING.match(line.text):
            words = re.sub(r"[^\w\- ]", "", match[1].replace("`", "").lower())
            found.add(words.replace(" ", "-"))
    return frozenset(found)


def _parts(path: Path) -> _DocumentParts:
    in_blocks: list[Text] = []
    outside: list[Text] = []
    fence, language, start, body = "", "", 0, list[str]()
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = _FENCE.match(line)
        if fence:
            if line.strip() == fence:
                in_blocks.append(Text(f"{name(path)}:{start}", "\n".join(body), language))
                fence, body = "", []
            else:
                body.append(line)
        elif match:
            fence, language, start = match[1], match[2], number
        else:
            outside.append(Text(f"{name(path)}:{number}", line))
    assert not fence, f"{name(path)}: a code block has no end"
    return _DocumentParts(tuple(in_blocks), tuple(outside))

"""Pages as their reader's browser has them: strictly parsed, with what would be of harm named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element

import html5lib

_XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_ACTIVE: Final = frozenset({"iframe", "object", "embed", "base", "style", "b", "img", "frame", "applet"})
"""Elements that no page of ours has: who finds one has found text that became markup."""


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """A page without a parse error."""

    root: Element
    address: str

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(self.root.itertext())

    @property
    def title(self) -> str:
        """Its title."""
        return "".join(self.root.find(f".//{_XHTML}title").itertext())  # type: ignore[union-attr]

    def links(self) -> set[str]:
        """Return the paths and queries of all that it links to on its own server."""
        found = set()
        for each in self.root.iter():
            for name in ("href", "src", "action"):
                if name in each.attrib:
                    parts = urlsplit(urljoin(self.address, each.attrib[name]))
                    found.add(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        return found

    def ids(self) -> list[str]:
        """Return every id in it."""
        return [each.attrib["id"] for each in self.root.iter() if "id" in each.attrib]

    def commands(self) -> list[str]:
        """Return the commands for the host."""
        every = self.root.iter(f"{_XHTML}code")
        return ["".join(each.itertext()) for each in every if each.attrib.get("class") == "command"]

    def harm(self) -> list[str]:
        """Return what a page of ours must not have: inline scripts and styles, handlers, other servers, odd text."""
        return list(self._harm())

    def _harm(self) -> Iterator[str]:
        for each in self.root.iter():
            name = str(each.tag).rpartition("}")[2]
            if name in _ACTIVE or (name == "script" and (each.text or "src" not in each.attrib)):
                yield f"<{name}>"
            for attribute, value in each.attrib.items():
                if attribute == "style" or attribute.startswith("on"):
                    yield f"{name} {attribute}"
                if attribute in {"href", "src", "action"} and re.match(r"[a-z]+:|//", value, re.IGNORECASE):
                    yield f"{name} {attribute}={value}"
        odd = {character for character in self.text if not character.isprintable() and character != "\n"}
        if odd:
            yield f"characters {odd!r}"
        if len(self.ids()) != len(set(self.ids())):
            yield "an id that is there twice"


def parsed(text: str, address: str = "http://certvigil/") -> ParsedPage:
    """Return a page; raises html5lib's ParseError for the first fault in it."""
    parser: Any = html5lib.HTMLParser(strict=True)
    return ParsedPage(parser.parse(text), address)

"""The output for people: colour and columns on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from rich.cells import cell_len

from config.text import Printable, Shown, harmless, listed, sentence
from config.vocabulary import Severity, Verdict
from monitor.commands.layout import fit, pad, side_by_side, stacked, wrap
from monitor.span import left

if TYPE_CHECKING:
    from rich.console import Console

    # A command that shows what the daemon says needs no library for certificates.
    from probes.certificate import Certificate
    from probes.finding import Finding

Item = TypeVar("Item")

_STYLE: Final = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.CRITICAL: "bold red",
    Verdict.UNKNOWN: "magenta",
    Severity.INFORMATIONAL: "dim",
    Severity.NOTICE: "cyan",
    Severity.WARNING: "yellow",
    Severity.CRITICAL: "bold red",
}
_NONE: Final = Printable("")
_LONG: Final = 200
"""From so many items on, there is a progress bar."""
INDENT: Final = " " * 9
_SHOWN_NAMES: Final = 20


class Screen:
    """Writes to standard output. Progress goes to standard error, so that a pipe stays clean."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream` instead where one is given."""
        self._stream = sys.stdout if stream is None else stream
        self._terminal = _terminal(self._stream) if self._stream.isatty() else None

    def aside(self) -> Screen:
        """Return the screen for lines beside a table: standard error in a pipe, itself on a terminal."""
        if self._terminal is not None:
            return self
        self._stream.flush()
        return Screen(sys.stderr)

    def progress(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Yield `items`; on a terminal, a bar shows the progress of many."""
        if total < _LONG or not sys.stderr.isatty():
            yield from items
            return
        from rich.progress import Progress  # noqa: PLC0415 (seldom needed)

        with Progress(console=_terminal(sys.stderr), transient=True) as bar:
            task = bar.add_task(what, total=total)
            for item in items:
                bar.advance(task)
                yield item

    @property
    def width(self) -> int | None:
        """Cells of a line; None in a pipe, whose lines have no end."""
        return None if self._terminal is None else self._terminal.width

    def target(
        self, target: Printable, verdict: Verdict, findings: Sequence[Finding], notes: Iterable[Printable] = ()
    ) -> None:
        """Print one target with its findings, and `notes` about it."""
        self.entry(f"{verdict:<8} ", target, _STYLE[verdict], "bold")
        for found in sorted(findings, key=lambda each: -each.severity.rank):
            self.finding(found.severity, sentence("{}: {}", found.code, harmless(found.detail)))
        for note in notes:
            self.entry(INDENT, note, style="dim")

    def finding(self, severity: Severity, text: Printable) -> None:
        """Print one finding under its target."""
        self.entry(f"{INDENT}{severity:<8} ", text, _STYLE[severity])

    def certificate(
        self,
        position: int,
        certificate: Certificate,
        now: float,
        issuer_key: str | None = None,
        alias: Printable = _NONE,
    ) -> None:
        """Print the facts by which people tell a certificate from another, and the key of its issuer where known."""
        from probes.judge.time import moment  # noqa: PLC0415 (whoever has a certificate has the module)

        ends = Printable("ends at an unknown time")
        if certificate.not_after is not None:
            ends = sentence("ends {}, {}", moment(certificate.not_after), left(certificate.not_after - now))
        subject = harmless(certificate.subject) or Printable("(no subject)")
        self.entry(f"{position:>4} ", sentence("{}, {}, {}", subject, harmless(str(certificate.key)), ends), "dim")
        facts = (
            ("alias", harmless(alias)),
            ("names", _some(list(map(harmless, certificate.names)))),
            ("issuer", harmless(certificate.issuer) or Printable("(no name)")),
            ("serial", harmless(certificate.serial)),
            ("sha256", harmless(certificate.sha256)),
            ("by key", sentence("spki_sha256 {}", harmless(issuer_key)) if issuer_key else Printable("")),
        )
        for label, fact in facts:
            if fact:
                self.entry(f"     {label:<8}", fact, "dim", "dim")

    def entry(self, label: str, text: Printable, label_style: str = "", style: str = "") -> None:
        """Print `text` after `label`. Long text goes on in the next lines, below itself; no word is broken."""
        text = harmless(text)
        room = None if self.width is None else max(1, self.width - cell_len(label))
        for number, line in enumerate([text] if room is None else wrap(text, room)):
            self._line((pad("" if number else label, cell_len(label)), label_style), (line, style))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Shown]], verdict_column: int | None = None) -> None:
        """Print rows under their columns, or below each other where the terminal is too narrow; no word is broken.

        In a pipe each row is one line with tabs. The first line has the names of the columns.
        """
        cells = [tuple(harmless(str(cell)) for cell in row) for row in rows]
        if self.width is None:
            for row in (columns, *cells):
                self._stream.write("\t".join(row) + "\n")
            return
        widths = fit(columns, cells, self.width)
        if widths is None:
            for row in cells:
                for index, (label, text) in stacked(columns, row, self.width):
                    self._line((label, "dim"), (text, _style(row[index]) if index == verdict_column else ""))
                self.say("")
            return
        self._line(*((each, "bold") for each in next(side_by_side(columns, widths))))
        for row in cells:
            for line in side_by_side(row, widths):
                self._line(
                    *((cell, _style(row[index]) if index == verdict_column else "") for index, cell in enumerate(line))
                )

    def records(
        self,
        columns: Sequence[str],
        records: Iterable[tuple[Sequence[Shown], Sequence[tuple[str, Printable]]]],
    ) -> None:
        """Print rows with a verdict in the first cell. Under each row are its details: a label, and a text."""
        shown = [(tuple(harmless(str(cell)) for cell in row), details) for row, details in records]
        if not shown:
            return
        widths = fit(columns, [row for row, _ in shown], self.width or 0)
        if widths is not None:
            self._line(*((each, "bold") for each in next(side_by_side(columns, widths))))
        for row, details in shown:
            if widths is None:
                self.entry(f"{row[0]:<8} ", row[1], _style(row[0]), "bold")
                facts = (f"{column} {cell}" for column, cell in zip(columns[2:], row[2:], strict=True) if cell)
                self.entry(INDENT, harmless(", ".join(facts)), style="dim")
            else:
                for verdict, *rest in side_by_side(row, widths):
                    self._line((verdict, _style(row[0])), *((each, "") for each in rest))
            for label, text in details:
                self.entry(f"{INDENT}{label:<8} ", text, _style(label) or "dim")

    def _line(self, *parts: tuple[str, str]) -> None:
        """Print one line as it is, however wide. A terminal gets nothing but such lines."""
        if self._terminal is None:
            self._stream.write("".join(harmless(text) for text, _ in parts) + "\n")
            # Whoever reads the pipe follows what happens.
            self._stream.flush()
            return
        from rich.text import Text  # noqa: PLC0415 (see `_terminal`)

        line = Text.assemble(*((harmless(text), style) for text, style in parts))
        self._terminal.print(line, no_wrap=True, overflow="ignore", crop=False)

    def verbatim(self, text: Printable, style: str = "") -> None:
        """Print a line that people copy as it is, however narrow the terminal."""
        self._line((text, style))

    def say(self, template: str, *parts: Shown, style: str = "") -> None:
        """Print a sentence, as `sentence` makes it. Parts from a document are escaped as well."""
        self.entry("", sentence(template, *parts), style=style)


def _terminal(stream: TextIO) -> Console:
    """Return the terminal that a stream is: it alone knows colours and a width."""
    from rich.console import Console  # noqa: PLC0415 (dear, and of no use in a pipe)

    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _style(cell: str) -> str:
    return next((style for word, style in _STYLE.items() if word == cell), "")


def _some(names: Sequence[Printable]) -> Printable:
    more = len(names) - _SHOWN_NAMES
    shown = listed(names[:_SHOWN_NAMES])
    return sentence("{} and {} more", shown, more) if more > 0 else shown

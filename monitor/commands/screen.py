"""What people see: colour and columns on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from config.model import DAY
from config.vocabulary import Severity, Verdict
from probes.certificate import Certificate
from probes.finding import Finding
from probes.judge.time import moment

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
_LONG: Final = 200
"""So many items are worth a progress bar."""
_SHOWN: Final = 10
"""More certificates than that are a bundle, which nobody reads line by line."""


class Screen:
    """Writes to standard output; progress goes to standard error, so that a pipe stays clean."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())

    def progress(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Yield `items`, with a bar on a terminal where there are many."""
        if total < _LONG or not sys.stderr.isatty():
            yield from items
            return
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            for item in items:
                bar.advance(task)
                yield item

    def target(
        self,
        target: str,
        verdict: Verdict,
        findings: Sequence[Finding],
        chain: Sequence[Certificate],
        now: float,
    ) -> None:
        """Print one target with what is wrong and what it presents."""
        line = Text()
        line.append(f"{verdict:<9}", _STYLE[verdict])
        line.append(target, "bold")
        self._console.print(line)
        for found in sorted(findings, key=lambda each: -each.severity.rank):
            self._console.print(self.finding(found))
        for position, certificate in enumerate(chain[:_SHOWN]):
            self._console.print(self._certificate(position, certificate, now))
        if len(chain) > _SHOWN:
            self._console.print(Text(f"         and {len(chain) - _SHOWN} more certificates; --json shows all", "dim"))

    def finding(self, found: Finding) -> Text:
        """Return the line of one finding."""
        line = Text("         ")
        line.append(f"{found.severity:<9}", _STYLE[found.severity])
        line.append(f"{found.code}: {found.detail}")
        return line

    def _certificate(self, position: int, certificate: Certificate, now: float) -> Text:
        line = Text("         ")
        line.append(f"{position:>2}  ", "dim")
        line.append(certificate.subject or "(no subject)")
        if certificate.not_after is not None:
            line.append(f"  until {moment(certificate.not_after)}, {_left(certificate.not_after - now)}", "dim")
        line.append(f"  {certificate.key}", "dim")
        return line

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], verdict_column: int | None = None) -> None:
        """Print rows under their columns; in a pipe, one line for each row with tabs between."""
        if not sys.stdout.isatty():
            for row in rows:
                sys.stdout.write("\t".join(row) + "\n")
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(
                *(Text(cell, _style(cell) if index == verdict_column else "") for index, cell in enumerate(row))
            )
        self._console.print(table)

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self._console.print(Text(text, style))


def _style(cell: str) -> str:
    return next((style for word, style in _STYLE.items() if word == cell), "")


def _left(seconds: float) -> str:
    if seconds < 0:
        return f"ended {_span(-seconds)} ago"
    return f"{_span(seconds)} left"


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"

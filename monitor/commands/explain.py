"""`certvigil explain`: the meaning of a finding, its cure, whom it hurts. Needs no configuration and no daemon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from config.pattern import is_one_of
from config.text import Printable, harmless
from config.vocabulary import Code
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.notify.explanation import Explanation, advice_lines, by_kind, explanation, policies_line

_UNUSABLE: Final = 3
_LABEL: Final = 15
"""Cells for the names of the facts."""


def explain(codes: Sequence[str], *, as_json: bool) -> int:
    """Print the rows of `codes`, or list all; return 3 for an unknown code."""
    if problem := unknown(codes, [str(code) for code in Code], Printable("finding")):
        complain("certvigil: {}", problem)
        return _UNUSABLE
    explained = [explanation(code) for code in Code if not codes or is_one_of(code, codes)]
    if as_json:
        print_json({"findings": [asdict(each) for each in explained]})
        return 0
    screen = Screen()
    if not codes:
        screen.table(
            ("severity", "finding", "group", "meaning"),
            [tuple(map(harmless, (each.severity, each.code, each.group, each.meaning))) for each in explained],
            verdict_column=0,
        )
        return 0
    for number, each in enumerate(explained):
        if number:
            screen.say("")
        _show(screen, each)
    return 0


def _show(screen: Screen, explained: Explanation) -> None:
    screen.say("{}", harmless(explained.code), style="bold")
    last = ""
    for label, text in _facts(explained):
        screen.entry(f"{'' if label == last else label:<{_LABEL}}", harmless(text), "dim")
        last = label


def _facts(explained: Explanation) -> Iterator[tuple[str, str]]:
    yield "severity", f"{explained.severity}. {explained.otherwise}".removesuffix(". ")
    yield "group", explained.group
    yield "means", explained.meaning
    yield "cure", explained.cure
    if explained.cure_in_store:
        yield "cure", f"in a trust store: {explained.cure_in_store}"
    yield from (("cure", f"{reason}: {cure}") for reason, cure in explained.cures.items())
    yield from (("hurts", line) for line in by_kind(explained.hurts))
    yield "by itself", explained.by_itself
    yield from (("to act", line) for line in advice_lines(explained))
    yield "policies", policies_line(explained)
    yield "notifications", explained.grouping

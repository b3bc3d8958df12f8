"""The page of findings, from the catalogue.

The heading of each code is the code alone, so that the code is its anchor: `notifications.runbook` may link there.
Sphinx needs `myst_heading_anchors` of 3 or more for that; otherwise it makes a hyphen of each underscore.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from config.catalogue import GROUP_MEANING, GROUP_MEMBERS
from config.vocabulary import Code, Group, Severity
from monitor.notify.explanation import Explanation, advice_lines, by_kind, explanation, policies_line

_HEAD: Final = """\
# Findings

<!-- Made by `make pages` from config/catalogue.py; changes in here are lost. -->

A finding is a fault of a target: it has a code from the closed list below, a severity, a subject within the
target and a detail. `certvigil explain CODE` prints the section of a code, `certvigil explain` lists all of them.

Policies wait for a code with `finding: CODE` and for every code of a group with `group: GROUP`. Routes, silences and
waivers name codes as well. Notifications name `certvigil explain`, or link to the place that
`notifications.runbook` names, such as a copy of this page.

A waiver makes a finding a notice, whatever its severity is otherwise. The verdict of a target is the severity of its
worst finding; a target with notices and informational findings alone is ok.

The last lines of a section are the advice in a notification about a component with a `service`; for all other targets,
the advice says what to do by hand. Names in capitals stand for names of your own.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join((_HEAD, *_overview(), *(line for group in Group for line in _group(group))))


def _overview() -> Iterator[str]:
    yield "| severity | codes |"
    yield "|---|---|"
    for severity in reversed(Severity):
        codes = [each for each in Code if explanation(each).severity == severity]
        yield f"| {severity} | {', '.join(f'[{each}](#{each})' for each in codes)} |"
    yield ""


def _group(group: Group) -> Iterator[str]:
    yield f"## Group `{group}`"
    yield ""
    yield GROUP_MEANING[group]
    yield ""
    for code in Code:
        if code in GROUP_MEMBERS[group]:
            yield from _section(explanation(code))


def _section(explained: Explanation) -> Iterator[str]:
    yield f"### `{explained.code}`"
    yield ""
    yield explained.meaning
    yield ""
    yield f"- **Severity**: {explained.severity}. {explained.otherwise}".rstrip()
    yield f"- **Cure**: {explained.cure}."
    if explained.cure_in_store:
        yield f"  - In a trust store: {explained.cure_in_store}."
    yield from (f"  - `{reason}`: {cure}." for reason, cure in explained.cures.items())
    yield from _hurts(explained)
    yield f"- **By itself**: {explained.by_itself}."
    yield f"- **Policies**: {policies_line(explained)}."
    yield f"- **Notifications**: {explained.grouping}."
    yield ""
    yield "```text"
    yield from advice_lines(explained)
    yield "```"
    yield ""


def _hurts(explained: Explanation) -> Iterator[str]:
    first, *rest = by_kind(explained.hurts)
    if not rest:
        yield f"- **Whom it hurts**: {first}."
        return
    yield "- **Whom it hurts**, by the kind of target:"
    yield from (f"  - {line}." for line in (first, *rest))

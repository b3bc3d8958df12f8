"""Findings about a chain and the configuration lines that name it: the one is of use only with the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from config.catalogue import NAMED_CURE
from config.model import ConfigLine, FileTarget
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, FileRole, LineState, Severity
from probes.finding import Finding, finding
from probes.line.registry import by_hand
from probes.line.use import Observations, is_missing


def judge_line(target: FileTarget, targets: Sequence[FileTarget], observations: Observations) -> Iterator[Finding]:
    """Yield that a configuration file and the chain do not fit together."""
    chain = next((each for each in targets if each.role is FileRole.CHAIN), None)
    reading = observations[target.name].line
    if target.line is None or chain is None or reading is None:
        return
    seen, path, setting = observations[chain.name], printable(chain.path), printable(target.line.setting)
    if reading.state is LineState.PRESENT and is_missing(seen):
        detail = sentence("it names {}, and there is no such file: its server does not start with that", path)
        cure = sentence("take the line out of {}, or put the chain there", printable(target.path))
        yield finding(Code.CONFIG_LINE_MISSING, _curable(detail, cure), severity=Severity.CRITICAL)
    elif reading.state is LineState.OTHER:
        detail = sentence("it sets {} to {}, and not to {}", setting, reading.detail, path)
        # A second element beside the first would be refused by the next plan.
        cure = sentence("in {}, change it to {}, and restart its service", printable(target.path), by_hand(target.line))
        yield finding(Code.CONFIG_LINE_MISSING, _curable(detail, cure))
    elif reading.state is LineState.ABSENT and seen.certificates:
        detail = sentence("{} is there, and its server does not use it: {} is not set", path, setting)
        yield finding(Code.CONFIG_LINE_MISSING, _curable(detail, _cure(target.line)))
    elif reading.state is LineState.UNCLEAR and not reading.absent:
        detail = sentence("no replacement can edit it: {}", reading.detail)
        cure = reading.cure or Printable("correct the file")
        yield finding(Code.CONFIG_LINE_MISSING, _curable(detail, sentence("{}: {}", printable(target.path), cure)))


def _curable(detail: Printable, cure: Printable) -> Printable:
    return sentence("{}{}{}", detail, harmless(NAMED_CURE), cure)


def _cure(line: ConfigLine) -> Printable:
    return sentence("put {} into {}, and restart its service", by_hand(line), printable(line.file))

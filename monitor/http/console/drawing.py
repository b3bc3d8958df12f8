"""What is drawn on the pages, as numbers for SVG; the templates have the elements. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from config.immutable import immutable
from config.model import Thresholds
from config.text import Printable, Shown, listed, sentence
from config.vocabulary import Severity
from monitor.span import left
from probes.certificate import Certificate
from probes.judge.time import moment
from probes.lifetime import approaches, has_ended


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"


@immutable
class Notch:
    """A threshold on the bar of a life."""

    at: float
    """Per cent of the bar."""
    severity: Severity


@immutable
class LifeBar:
    """The life of a certificate as a bar from notBefore to notAfter."""

    gone: float
    """Per cent of its life that is over."""
    level: str
    """The severity that it has reached; `ok` before all of them, `ended` after the end."""
    notches: tuple[Notch, ...]
    text: Printable
    """All of it in words, for whoever does not see the bar."""


def life_bar(certificate: Certificate, thresholds: Thresholds | None, now: float) -> LifeBar | None:
    """Return the bar of a certificate at Unix time `now`; None where it has no known begin and end in this order."""
    begin, end = certificate.not_before, certificate.not_after
    if begin is None or end is None or end <= begin:
        return None
    whole = end - begin
    marks = approaches(certificate, thresholds)
    reached: Sequence[Shown] = [each.severity for each in marks if now >= each.at]
    level: Shown = "ended" if has_ended(certificate, now) else reached[-1] if reached else "ok"  # type: ignore[assignment]
    levels = listed(sentence("{} from {}", each.severity, moment(each.at)) for each in marks)
    text = sentence("valid from {} until {}; {}; {}", moment(begin), moment(end), left(end - now), levels)
    return LifeBar(
        gone=_share(now - begin, whole),
        level=str(level),
        notches=tuple(Notch(_share(each.at - begin, whole), each.severity) for each in marks),
        text=text,
    )


def _share(part: float, whole: float) -> float:
    return round(min(max(part / whole, 0.0), 1.0) * 100, 2)

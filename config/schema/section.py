"""The common rules of all sections of the document: strictness, references, and words for mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError

from config.fields import LabelName, LabelValue
from config.immutable import immutable
from config.label import MOST_LABELS
from config.text import printable
from config.window import check_cron, check_timezone

_MOST_NAMES: Final = 100
"""Names that a mistake lists."""


@immutable
class DeclaredNames:
    """The names that references may have, by section; None where they cannot be known."""

    trust_stores: Collection[str] | None
    clients: Collection[str] | None
    components: Collection[str] | None
    channels: Collection[str] | None
    services: Mapping[str, object] | None = None
    """Each with the service that was read from it."""
    groups: Collection[str] | None = None


def broken_rule(problem: str, *about: str) -> PydanticCustomError:
    """Return the error that a validator raises to say `problem` as it is.

    `about` names the keys that the rule reads: where one of them has a mistake of its own, the rule says nothing.
    Without any it reads all of them.
    """
    return PydanticCustomError("rule", "{problem}", {"problem": problem, "about": about})


def unlike(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about `word`, which is not in `known`."""
    names = sorted(set(known))
    if not names:
        return ", expected none"
    close = difflib.get_close_matches(word, names, 1)
    guess = f" (did you mean '{printable(close[0], 60)}'?)" if close else ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    shown = printable(", ".join(names[:_MOST_NAMES]), 4096)
    return f"{guess}, expected {'one of ' if len(names) > 1 else ''}{shown}{more}"


def is_pattern(text: str) -> bool:
    """Whether `text` may stand for several names."""
    return not frozenset("*?[").isdisjoint(text)


def _reference(
    section: Literal["trust_stores", "clients", "components", "channels", "groups"],
    what: str,
    *,
    or_pattern: bool = False,
) -> AfterValidator:
    """Return the validator of a name that `section` declares, or of a pattern."""

    def read(name: str, info: ValidationInfo) -> str:
        names: DeclaredNames | None = info.context
        known = getattr(names, section)
        if known is not None and name not in known and not (or_pattern and is_pattern(name)):
            is_group = section == "components" and names is not None and name in (names.groups or ())
            raise PydanticCustomError("reference", "", {"what": what, "known": known, "is_group": is_group})
        return name

    return AfterValidator(read)


StoreName = Annotated[str, _reference("trust_stores", "trust store")]
ClientName = Annotated[str, _reference("clients", "client")]
ComponentName = Annotated[str, _reference("components", "component")]
GroupPattern = Annotated[str, _reference("groups", "group", or_pattern=True)]
ComponentPattern = Annotated[str, _reference("components", "component", or_pattern=True)]
ChannelName = Annotated[str, _reference("channels", "channel")]


def _few(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MOST_LABELS:
        raise ValueError(f"at most {MOST_LABELS} labels")
    return labels


Labels = Annotated[dict[LabelName, LabelValue], AfterValidator(_few)]


class Section(BaseModel):
    """A mapping in the document, with no other keys than its fields; the docstring below a field describes it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _cron(text: str) -> str:
    check_cron(text)
    return text


def _timezone(text: str) -> str:
    check_timezone(text)
    return text


Cron = Annotated[str, AfterValidator(_cron)]
Timezone = Annotated[str, AfterValidator(_timezone)]

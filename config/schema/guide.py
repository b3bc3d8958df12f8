"""A topic of `certvigil guide`, as it is written: steps for a person, with facts of the configuration in them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from config.schema.section import Section, broken_rule

VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
"""A fact in a text."""
_QUOTED_SHELL: Final = re.compile(r"['\"`\\]|\$\(")
_QUOTED_POWERSHELL: Final = re.compile(r"['\"`\u2018-\u201e]")


def _with_key(key: str) -> BeforeValidator:
    """Return the validator for which a text alone stands for a mapping with that key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


StepLines = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class ConditionSection(Section):
    """When something is part of a topic, and how often."""

    when: dict[str, list[str]] = {}
    """The values of which each of these facts must have one."""
    needs: list[str] = []
    """Facts that must be known."""
    for_each: dict[str, str] = {}
    """Repeated for each item of the fact, which is a list; the variable then stands for the item."""


class ParagraphSection(ConditionSection):
    """Some sentences before the steps."""

    text: str
    """Sentences, in which **NAME** is a menu, a button or a field, `TEXT` is literal, and ${FACT} is a fact."""


class StepSection(ConditionSection):
    """A step, a question to be answered first, or a heading over steps."""

    do: str = ""
    """A short imperative sentence, as in a paragraph."""
    ask: str = ""
    """A statement that a person has to confirm."""
    heading: str = ""
    """A heading."""
    sh: StepLines = []
    """Commands for a shell on the appliance; each fact in them becomes one word, or several words of a command."""
    powershell: StepLines = []
    """Commands for PowerShell; each fact in them becomes a string in single quotes."""
    text: StepLines = []
    """Lines to be written as they are, such as lines of a configuration file."""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if len([each for each in (self.do, self.ask, self.heading) if each]) != 1:
            raise broken_rule("not one sentence, expected exactly one of 'do', 'ask' and 'heading'")
        if len([each for each in (self.sh, self.powershell, self.text) if each]) > 1:
            raise broken_rule("several languages, expected one of 'sh', 'powershell' and 'text'")
        for lines, quoted in ((self.sh, _QUOTED_SHELL), (self.powershell, _QUOTED_POWERSHELL)):
            if any(VARIABLE.search(line) and quoted.search(line) for line in lines):
                raise broken_rule("a fact in a command with quotes, expected none: facts are quoted by certvigil")
        return self


class ProofSection(ConditionSection):
    """A command of certvigil that proves the result."""

    certvigil: list[str] = Field(min_length=1)
    """Its arguments; a fact that is a command becomes several."""
    exit: int | None = None
    """Its exit code."""
    prints: list[str] = []
    """Texts in its output."""
    means: str = ""
    """The meaning, as in a paragraph."""


class TopicSection(Section):
    """A topic: how a person does something by hand."""

    title: str
    """The title, an imperative."""
    place: int = 1000
    """The place in the list of topics; the smallest comes first."""
    when: dict[str, list[str]] = {}
    """The values of which each of these facts must have one; the topic does not apply otherwise."""
    needs: list[str] = []
    """Facts without which the topic does not apply."""
    about: list[Annotated[ParagraphSection, _with_key("text")]] = []
    """What to know first."""
    steps: list[Annotated[StepSection, _with_key("do")]] = Field(min_length=1)
    """The steps, in order."""
    proof: list[ProofSection] = []
    """Commands that prove the result."""


def read_topic(values: dict[str, Any]) -> TopicSection:
    """Return the topic in these values; raises pydantic's ValidationError."""
    return TopicSection.model_validate(values)

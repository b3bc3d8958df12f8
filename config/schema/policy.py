"""Policies, as they are written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from config import model, policy
from config.catalogue import GROUP_MEMBERS
from config.fields import Attempts, Days, Duration, Interval, PlainName, Share, duration
from config.schema.issuer import AllowedIssuerSection
from config.schema.section import (
    ChannelName,
    ClientName,
    ComponentPattern,
    Cron,
    GroupPattern,
    Section,
    Timezone,
    broken_rule,
)
from config.vocabulary import Code, Group, Mode, Severity
from config.window import check_window

_ACTIONS: Final = ("activate", "replace", "rollback")


class WindowSection(Section):
    """A time in which actions may be taken."""

    cron: Cron
    """When it opens: minute, hour, day of the month, month, day of the week; a day must match both day fields."""
    duration: Interval
    """The time for which it stays open, such as 3h."""
    timezone: Timezone = "UTC"
    """The time zone, such as Europe/Zurich."""

    @model_validator(mode="after")
    def _check_openings(self) -> Self:
        try:
            check_window(self.build())
        except ValueError as error:
            raise broken_rule(str(error)) from None
        return self

    def build(self) -> policy.Window:
        """Return the window."""
        return policy.Window(self.cron, self.duration, self.timezone)


class MatchSection(Section):
    """The subjects of a policy: each given list must match by one of its items; `*` is any text."""

    component: list[ComponentPattern] = Field(default=[], min_length=1)
    """Names of components; one that is in a group stands for the whole group."""
    group: list[GroupPattern] = Field(default=[], min_length=1)
    """Names of groups."""
    target: list[str] = Field(default=[], min_length=1)
    """Names of targets; a component or a group matches by any of its targets."""
    label: dict[PlainName, list[str]] = {}
    """Labels; each must have one of the given values."""
    profile: list[str] = Field(default=[], min_length=1)
    """Names of profiles."""

    def build(self) -> policy.PolicyMatch:
        """Return the match."""
        labels = MappingProxyType({name: tuple(values) for name, values in self.label.items()})
        return policy.PolicyMatch(
            tuple(self.component), tuple(self.target), labels, tuple(self.profile), tuple(self.group)
        )


def _or_text(*forms: str) -> Any:
    """Return an addition to the JSON Schema of a mapping: a text may stand for it."""

    def extend(schema: dict[str, Any]) -> None:
        whole = dict(schema)
        schema.clear()
        schema["anyOf"] = [whole, {"type": "string", "description": f"Such as {' or '.join(forms)}."}]

    return extend


class Remaining(Section):
    """A part of a certificate's lifetime before its end; `33%` is capped in days, `21d` by a third of the lifetime."""

    model_config = ConfigDict(json_schema_extra=_or_text("33%", "21d"))

    share: Share | None = None
    """The share of the lifetime that is left, such as 33%."""
    days: Days | None = None
    """Never more than this many days."""

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.endswith("%"):
            return {"share": value}
        try:
            return {"days": duration(value) / model.DAY}
        except ValueError:
            raise ValueError("a share such as 33%, or a duration such as 21d") from None

    @model_validator(mode="after")
    def _check_given(self) -> Self:
        if self.share is None and self.days is None:
            raise broken_rule("neither share nor days, expected one of them, or both")
        return self

    def build(self) -> model.Threshold:
        """Return the threshold."""
        if self.share is None:
            return policy.days_left(self.days or 0)
        return policy.share_of_lifetime(self.share) if self.days is None else model.Threshold(self.share, self.days)


class Rejection(Section):
    """A client that rejects, and an endpoint; by default any client, and any endpoint."""

    client: ClientName | None = None
    """The name of a client."""
    target: str | None = None
    """The name of an endpoint."""


class CheckSection(Section):
    """One check, by its name; beside it, how long it must have held, and how severe a finding must be."""

    any_of: list[CheckSection] | None = Field(None, alias="any", min_length=1)
    """One of these holds."""
    all_of: list[CheckSection] | None = Field(None, alias="all", min_length=1)
    """All of these hold."""
    negated: CheckSection | None = Field(None, alias="not")
    """This does not hold."""
    remaining_below: Remaining | None = None
    """Less than this is left of the certificate's lifetime, such as 33% or 21d."""
    finding: Annotated[Code, Field(strict=False)] | None = None
    """There is a finding with this code."""
    group: Annotated[Group, Field(strict=False)] | None = None
    """There is a finding of this group."""
    client_rejects: Rejection | None = None
    """A client rejects the chain of an endpoint."""
    drift_older_than: Duration | None = None
    """The certificate on disk has not been served for so long."""
    candidate_present: Literal[True] | None = None
    """The inbox has a candidate that was not tried yet."""
    failed_attempts: Attempts | None = None
    """So many attempts have failed since the last success."""
    regressed_within: Duration | None = None
    """A replacement, at most so long ago, has made things worse: a lost client, a broken chain, another leaf."""
    severity: Annotated[Severity, Field(strict=False)] | None = None
    """The least severity of the finding."""
    lasting: Duration | None = Field(None, alias="for")
    """How long the check must have held."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        given = [name for name in _CHECKS if getattr(self, _CHECKS[name]) is not None]
        if len(given) != 1:
            names = ", ".join(f"'{name}'" for name in _CHECKS)
            raise broken_rule(f"{' and '.join(given) or 'no check'}, expected exactly one of {names}")
        if self.lasting is not None and given[0] in {"any", "all", "not"}:
            raise broken_rule(f"'for' beside '{given[0]}', expected it beside the checks in there")
        if self.severity is not None and given[0] not in {"finding", "group"}:
            raise broken_rule(f"'severity' beside '{given[0]}', expected it beside 'finding' or 'group'")
        return self

    def build(self) -> policy.Check:
        """Return the check."""
        if self.any_of is not None:
            return policy.AnyOf(tuple(each.build() for each in self.any_of))
        if self.all_of is not None:
            return policy.AllOf(tuple(each.build() for each in self.all_of))
        return policy.Not(self.negated.build()) if self.negated is not None else self._leaf(self.lasting or 0.0)

    def _leaf(self, lasting: float) -> policy.Leaf:
        if self.remaining_below is not None:
            return policy.RemainingBelow(self.remaining_below.build(), lasting)
        if self.finding is not None:
            severity = self.severity or policy.LEAST_OF_CODE
            return policy.HasFinding(frozenset({self.finding}), str(self.finding), severity, lasting)
        if self.group is not None:
            severity = self.severity or policy.LEAST_OF_GROUP
            return policy.HasFinding(GROUP_MEMBERS[self.group], str(self.group), severity, lasting)
        if self.client_rejects is not None:
            return policy.ClientRejects(self.client_rejects.client, self.client_rejects.target, lasting)
        if self.drift_older_than is not None:
            return policy.DriftOlderThan(self.drift_older_than, lasting)
        if self.failed_attempts is not None:
            return policy.FailedAttempts(self.failed_attempts, lasting)
        if self.regressed_within is not None:
            return policy.Regressed(self.regressed_within, lasting)
        return policy.CandidatePresent(lasting)


_CHECKS: Final[Mapping[str, str]] = {
    field.alias or name: name
    for name, field in CheckSection.model_fields.items()
    if name not in {"severity", "lasting"}
}


class Replacement(Section):
    """How a candidate is installed."""

    source: Literal["inbox"] = Field("inbox", alias="from")
    """The source of the candidate."""
    allowed_issuers: list[AllowedIssuerSection] = []
    """The issuers of acceptable certificates, beside those of the component; written as there."""
    min_lifetime: Duration | None = None
    """How long the candidate must last at least; by default as for the component."""


class Nothing(Section):
    """Takes no options."""


class UnknownActionError(ValueError):
    """What was written is no action."""

    def __init__(self, value: str) -> None:
        super().__init__(f"one of {', '.join(_ACTIONS)}, or {{notify: [CHANNEL]}}")
        self.guess = next(iter(difflib.get_close_matches(value, _ACTIONS, 1)), "")
        """Which one it may mean; empty where that cannot be told."""


class ActionSection(Section):
    """One action; its name alone stands for the action without options."""

    model_config = ConfigDict(json_schema_extra=_or_text(*_ACTIONS))

    replace: Replacement | None = None
    """Install the candidate in the component's inbox."""
    rollback: Nothing | None = None
    """Install the last backup set again."""
    activate: Nothing | None = None
    """Have the service load its files from disk."""
    notify: list[ChannelName] | None = Field(None, min_length=1)
    """Notify people by these channels."""

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in _ACTIONS:
            raise UnknownActionError(value)
        return {value: {}}

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise broken_rule(f"{' and '.join(given) or 'nothing to do'}, expected one thing in each item of the list")
        return self

    def build(self) -> policy.Action | policy.Notify:
        """Return the action."""
        if self.replace is not None:
            issuers = tuple(each.build() for each in self.replace.allowed_issuers)
            return policy.Replace(issuers, self.replace.min_lifetime)
        if self.notify is not None:
            return policy.Notify(tuple(self.notify))
        return policy.Rollback() if self.rollback is not None else policy.Activate()


class PolicySection(Section):
    """An action under a condition. The first policy with an action that can be taken wins; each may notify people."""

    name: PlainName
    """The name of the policy."""
    match: MatchSection = MatchSection()
    """Its subjects; by default all."""
    when: CheckSection
    """Its condition, such as {finding: not_served, for: 15m}."""
    windows: list[WindowSection] = []
    """The times in which its action may be taken; by default always."""
    override_window_when: CheckSection | None = None
    """A condition under which its action does not wait for a window."""
    mode: Annotated[Mode, Field(strict=False)] | None = None
    """How far to go without a person: observe, plan, approve or auto; by default as for the component."""
    fallback: bool = False
    """Whether it applies only to subjects without another policy with the same action."""
    do: list[ActionSection] = Field(min_length=1)
    """Its action: activate, rollback or replace, and {notify: [ops]}."""

    @model_validator(mode="after")
    def _check_actions(self) -> Self:
        built = [each.build() for each in self.do]
        tells = sum(isinstance(each, policy.Notify) for each in built)
        if tells > 1 or len(built) - tells > 1:
            raise broken_rule("several actions, expected at most one, and one 'notify'; write a policy for each", "do")
        if tells == len(built) and (self.windows or self.mode is not None):
            raise broken_rule(
                "'windows' or 'mode' without an action, expected an action in 'do': telling people is never held back",
                *("windows", "mode", "do"),
            )
        if self.override_window_when is not None and not self.windows:
            raise broken_rule(
                "'override_window_when' without 'windows', expected the windows that it overrides",
                *("override_window_when", "windows"),
            )
        return self

    def build(self) -> policy.Policy:
        """Return the policy."""
        built = [each.build() for each in self.do]
        return policy.Policy(
            name=self.name,
            when=self.when.build(),
            action=next((each for each in built if not isinstance(each, policy.Notify)), None),
            notify=next((each for each in built if isinstance(each, policy.Notify)), None),
            match=self.match.build(),
            windows=tuple(each.build() for each in self.windows),
            override_window_when=self.override_window_when.build() if self.override_window_when else None,
            mode=self.mode,
            fallback=self.fallback,
        )


class Policies(Section):
    """The section on its own, as certvigil ships it."""

    policies: list[PolicySection]
    """In their order of precedence."""

"""`certvigil init`: a configuration from a profile and from what is on this host."""

from __future__ import annotations

import json
import os
import pwd
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import typer

from config.address import is_dns_name
from config.document import Mistake
from config.host import own_name
from config.immutable import immutable
from config.load import load
from config.model import Config, FileTarget
from config.profile import SECTION, Parameter, Shipped, parameters_of, shipped
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import LINE_ROLES, FileRole
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.new_file import why_not_new, write_new_file
from probes.trust import read_certificates

UNUSABLE: Final = 3
_NOTHING_HERE: Final = "none of these files is here: name the right --root, or write it all the same by --without-files"
_STAND_IN: Final = "host.invalid"
"""For a name that is not known yet, while files are looked for."""

ParameterValue = str | list[str]
Values = Mapping[str, ParameterValue]


@immutable
class _Survey:
    """The files of a configuration on this host."""

    present: tuple[FileTarget, ...]
    absent: tuple[FileTarget, ...]
    """Without chains, which need not be there."""

    @property
    def rank(self) -> tuple[bool, int, int]:
        """How well it describes this host: that all files are there first, then the most files."""
        return not self.absent, len(self.present), -len(self.absent)


@dataclass(slots=True)
class _Draft:
    """Parameters so far, and why each has its value."""

    profile: str
    shipped: Shipped
    values: dict[str, ParameterValue] = field(default_factory=dict)
    reasons: dict[str, Printable] = field(default_factory=dict)

    def take(self, name: str, value: ParameterValue, why: Printable) -> None:
        """Note a value."""
        self.values[name] = value
        self.reasons[name] = why


class _CannotError(Exception):
    """No configuration can be written; the text says why and is printable."""


def init(name: str, given: Sequence[str], root: str | None, out: str | None, *, without_files: bool = False) -> int:
    """Write a configuration by the profile `name` to `out`, or to standard output; return 3 where that cannot be.

    `without_files`: also where none of its files is on this host.
    """
    try:
        if out is not None and (trouble := why_not_new(out, "a configuration")) is not None:
            raise _CannotError(trouble)  # noqa: TRY301
        draft = _begun(name, given, root)
        survey = _choose(draft)
        _complete(draft, survey)
        survey = _surveyed(draft.profile, draft.values)
        if not (survey.present or without_files or not survey.absent):
            _tell(draft, survey)
            raise _CannotError(_NOTHING_HERE)  # noqa: TRY301
        text = _text(draft)
        _check(text)
    except _CannotError as error:
        complain("certvigil init: {}", harmless(str(error)))
        return UNUSABLE
    _tell(draft, survey)
    if out is None:
        sys.stdout.write(text)
        return 0
    try:
        write_new_file(out, text.encode())
    except OSError as error:
        complain("certvigil init: {}: {}", printable(out, 4096), printable(error.strerror or str(error)))
        return UNUSABLE
    complain("wrote {}; see it with: certvigil config check {}", printable(out, 4096), printable(out, 4096))
    return 0


def _begun(name: str, given: Sequence[str], root: str | None) -> _Draft:
    if name not in shipped():
        raise _CannotError(unknown([name], shipped(), Printable("profile")) or "name one profile, not a pattern")
    draft = _Draft(name, parameters_of(name))
    known = {each.name: each for each in draft.shipped.parameters}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise _CannotError(sentence("--set {} has no value, expected KEY=VALUE", printable(each, 200)))
        if key not in known:
            why = unknown([key], tuple(known), Printable("parameter"))
            raise _CannotError(why or sentence("there is no parameter {}", printable(key, 200)))
        draft.take(key, _read(known[key], value), Printable("given"))
    if root is not None:
        directory = next((each.name for each in draft.shipped.parameters if each.kind == "directory"), None)
        if directory is None:
            raise _CannotError(sentence("the profile {} has no directory for --root", printable(name)))
        draft.take(directory, os.path.abspath(root), Printable("given"))
    return draft


def _read(parameter: Parameter, text: str) -> ParameterValue:
    return [each.strip() for each in text.split(",") if each.strip()] if parameter.kind == "ports" else text


def _choose(draft: _Draft) -> _Survey:
    """Take the choices that describe this host best, and return its files; raises _CannotError where none does."""
    choices = (each for each in draft.shipped.parameters if each.kind == "choice" and each.is_required)
    parameter = next((each for each in choices if each.name not in draft.values), None)
    if parameter is None:
        return _surveyed(draft.profile, draft.values)
    surveys = {each: _surveyed(draft.profile, _with_choice(draft, parameter, each)) for each in parameter.choices}
    best = max(parameter.choices, key=lambda each: surveys[each].rank)
    alike = [each for each in parameter.choices if surveys[each].rank == surveys[best].rank]
    survey = surveys[best]
    if survey.absent or len(alike) > 1:
        for each in survey.absent if survey.present else ():
            complain("absent   {}  {}", printable(each.name), printable(each.path, 4096))
        raise _CannotError(
            sentence(
                "the files of this host do not tell {}: give --set {}=VALUE, {}",
                printable(parameter.name),
                printable(parameter.name),
                listed(map(printable, parameter.choices), " or "),
            )
        )
    draft.take(parameter.name, best, sentence("all of its {} files are here", len(survey.present)))
    return _choose(draft)


def _with_choice(draft: _Draft, parameter: Parameter, choice: str) -> Values:
    """Return the values with a choice, without those that are not given beside it.

    A value that speaks against the choice in the end is a mistake, and said as such.
    """
    when = {each.name: each.when.get(parameter.name, (choice,)) for each in draft.shipped.parameters}
    return {**{name: value for name, value in draft.values.items() if choice in when[name]}, parameter.name: choice}


def _surveyed(profile: str, values: Values) -> _Survey:
    """Return the files that the profile has with these values, where required names are stand-ins."""
    stand_ins = {each.name: _STAND_IN for each in parameters_of(profile).parameters if each.is_required}
    config = _loaded(_document(profile, {**stand_ins, **values}))
    if not isinstance(config, Config):
        raise _CannotError(config[0].problem if not config[0].key else f"{config[0].key}: {config[0].problem}")
    present = tuple(each for each in config.files if _is_file(each.path))
    needed = (each for each in config.files if each.role not in {FileRole.CHAIN, *LINE_ROLES})
    return _Survey(present, tuple(each for each in needed if each not in present))


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _loaded(text: str) -> Config | tuple[Mistake, ...]:
    """Return what the loader makes of a configuration."""
    with tempfile.TemporaryDirectory(prefix="certvigil-") as directory:
        path = os.path.join(directory, "certvigil.yaml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return load(path, os.environ)


def _complete(draft: _Draft, survey: _Survey) -> None:
    """Ask for each required parameter that is missing; raises _CannotError where nobody can be asked."""
    missing = [each for each in draft.shipped.parameters if each.is_required and each.name not in draft.values]
    proposal = next(_proposals(survey), None)
    lacking: list[Printable] = []
    for each in missing:
        if sys.stdin.isatty() and sys.stderr.isatty():
            asked = printable(each.description)
            if proposal is not None:
                asked = sentence("{} {} is {}", asked, proposal.shown, proposal.whence)
            answer = typer.prompt(asked, default=own_name() if proposal is None else proposal.name, err=True)
            draft.take(each.name, _read(each, answer), Printable("answered"))
            continue
        perhaps = Printable("")
        if proposal is not None:
            perhaps = sentence(", perhaps {} ({})", proposal.shown, proposal.whence)
        lacking.append(
            sentence("--set {}=VALUE{}: {}", printable(each.name), perhaps, printable(each.description)),
        )
    if lacking:
        raise _CannotError(sentence("this host does not tell everything, so give {}", listed(lacking, "; ")))


@immutable
class _Proposal:
    """A name for this host, of a certificate that others may have written."""

    name: str
    path: str
    owner: int

    @property
    def shown(self) -> Printable:
        return printable(self.name)

    @property
    def whence(self) -> Printable:
        """Words for the file and its owner, on whose word the name stands."""
        try:
            user = printable(pwd.getpwuid(self.owner).pw_name)
        except KeyError:
            user = sentence("user {}", self.owner)
        return sentence("a name in {}, which belongs to {}: compare it", printable(self.path, 4096), user)


def _proposals(survey: _Survey) -> Iterator[_Proposal]:
    """Yield the DNS names of installed certificates that are names of one host."""
    for each in survey.present:
        if each.role in {FileRole.KEY, *LINE_ROLES}:
            continue
        try:
            certificates, owner = read_certificates(each.path), os.stat(each.path).st_uid
        except OSError:
            continue
        for certificate in certificates[:1]:
            dns = (name.removeprefix("DNS:") for name in certificate.names if name.startswith("DNS:"))
            yield from (_Proposal(name, each.path, owner) for name in dns if is_dns_name(name))


def _document(profile: str, values: Values) -> str:
    return json.dumps({"profile": profile, SECTION: values})


def _text(draft: _Draft) -> str:
    """Return the configuration, with the key to set for each parameter that is not known."""
    lines = ["# Written by `certvigil init`. `certvigil config show` prints all that follows from it."]
    lines += [f"profile: {draft.profile}", f"{SECTION}:"]
    for each in draft.shipped.parameters:
        if each.name in draft.values:
            value = json.dumps(draft.values[each.name], ensure_ascii=True)
            lines.append(f"  {each.name}: {value}  # {draft.reasons[each.name]}")
        elif all(draft.values.get(name) in wanted for name, wanted in each.when.items()):
            lines.append(f"  # {each.name}:  # {each.description}")
    lines += [f"# {each}" for each in draft.shipped.remarks]
    return "\n".join(lines) + "\n"


def _check(text: str) -> None:
    config = _loaded(text)
    if not isinstance(config, Config):
        raise _CannotError("; ".join(f"{each.key}: {each.problem}" for each in config))


def _tell(draft: _Draft, survey: _Survey) -> None:
    """Say on standard error what was found and what was not."""
    for each in survey.present:
        complain("found    {}  {}", printable(each.name), printable(each.path, 4096))
    for each in survey.absent:
        complain("absent   {}  {}", printable(each.name), printable(each.path, 4096))
    for name, why in draft.reasons.items():
        value = draft.values[name]
        shown = listed(map(printable, value)) if isinstance(value, list) else printable(value)
        complain("{} is {}: {}", printable(name), shown, why)

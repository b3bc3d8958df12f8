"""Shipped profiles: documents with parameters, as data.

A profile is a YAML file with two sections, and perhaps two more. `parameters` says what the user's section `appliance`
takes: for each a `type` (`choice`, `name`, `host`, `port`, `ports` or `directory`), a `description`, a `default` where
it need not be given (null for none; it may refer to parameters before it), and `when`, the values that others must have
for it to make sense. `document` is what the user's own document is added to. In it `${parameter}` is replaced, a
mapping with `when: {parameter: [value, ...]}` is there only with one of these values, `{when: ..., value: X}` stands
for X, and an item of a list with `for_each: {variable: parameter}` is there once for each value of the parameter, which
the variable then stands for. `files` names further paths in the same language, which runbooks name (`config.guide`).
`remarks` are sentences for whoever completes a configuration (`certvigil init`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple, cast

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model

from config.document import KeyPath, Mark, Value, YAMLDocument, fill, join, parse
from config.fields import AbsolutePath, Host, Port
from config.immutable import immutable
from config.schema.problem import Problem, problems, schema_of
from config.schema.section import Section

SECTION: Final = "appliance"
"""The section of the user's document with the parameters."""

Variables = Mapping[str, str | list[str]]
"""The value of each parameter; an empty list where it is not given."""


def shipped() -> tuple[str, ...]:
    """Return the names of all profiles."""
    names = (entry.name for entry in (files("config") / "profiles").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def expand(name: str, user: YAMLDocument) -> tuple[YAMLDocument | None, tuple[Problem, ...]]:
    """Return the document of the profile `name` for the parameters of `user`, and the mistakes in these.

    Where there are mistakes, there is no document. Its section `appliance` has every parameter and file.
    """
    profile, declared = _read_profile(name)
    variables, found = _read_parameters(declared.parameters, user)
    if found:
        return None, found
    expansion = _Expansion(profile)
    values = expansion.expanded(declared.document, ("document",), (), variables)
    known: dict[str, Value] = {name: list(each) if isinstance(each, list) else each for name, each in variables.items()}
    known |= cast("dict[str, Value]", expansion.expanded(declared.files, ("files",), ("files",), variables))
    return YAMLDocument({**cast("dict[str, Value]", values), SECTION: known}, expansion.marks), ()


def _read_profile(name: str) -> tuple[YAMLDocument, _Profile]:
    file = f"profile {name}"
    profile, mistakes = parse((files("config") / "profiles" / f"{name}.yaml").read_bytes(), file)
    if profile is None or mistakes:
        raise ValueError(f"{file} is shipped with mistakes: {mistakes}")
    return profile, _Profile.model_validate(profile.values)


def parameter_texts(section: Mapping[str, Any]) -> Mapping[str, str | tuple[str, ...]]:
    """Return the parameters in a section `appliance` as texts and lists of texts."""
    return MappingProxyType(
        {name: tuple(map(str, each)) if isinstance(each, list) else str(each) for name, each in section.items()}
    )


_BY_KEY: Final = ("components", "clients")
"""Sections in which the site's document may give a part of what the profile declares by the same name."""
_ALTERNATIVES: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "artefacts": (
        frozenset({"combined", "chain", "lines"}),
        frozenset({"certificate", "key", "chain", "lines"}),
        frozenset({"keystore", "password_file"}),
    ),
    "service": (frozenset({"unit"}), frozenset({"reload", "restart", "stop", "start"})),
}
"""Keys of which one set is given: what the site gives of one takes the place of all others in the profile."""


def lay_over(site: YAMLDocument, profile: YAMLDocument) -> YAMLDocument:
    """Return the site's document over that of a profile; each value keeps the mark of where it was written.

    Lists of the document are put one after the other. Elsewhere the site's value takes the place of the profile's of
    the same name, but for components and clients: these are merged key by key, and so are the mappings in them. A list
    in them is replaced as a whole, and null takes something away.
    """
    joined, _ = join(site, profile)
    values, marks = dict(joined.values), dict(joined.marks)
    values[SECTION] = profile.values[SECTION]
    for section in _BY_KEY:
        ours, theirs = site.values.get(section), profile.values.get(section)
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            continue
        merging = _Merging(profile, marks)
        both = {name: merging.merged(ours[name], theirs[name], (section, name)) for name in theirs if name in ours}
        whole = values[section]
        assert isinstance(whole, dict)  # noqa: S101 (both were)
        values[section] = {**whole, **both}
    return YAMLDocument(values, marks)


@immutable
class _Merging:
    profile: YAMLDocument
    marks: dict[KeyPath, Mark]

    def merged(self, ours: Value, theirs: Value, path: KeyPath) -> Value:
        """Return the value at `path` of both documents, and note the marks of what is the profile's."""
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return ours
        given = [keys for keys in _ALTERNATIVES.get(str(path[-1]), ()) if not keys.isdisjoint(ours)]
        instead = frozenset().union(*_ALTERNATIVES.get(str(path[-1]), ())) if given else frozenset()
        found: dict[str, Value] = {}
        for key, value in theirs.items():
            if key in ours:
                found[key] = self.merged(ours[key], value, (*path, key))
            elif key not in instead or any(key in keys for keys in given):
                found[key] = value
                self._take((*path, key))
        return {**found, **{key: value for key, value in ours.items() if key not in found}}

    def _take(self, path: KeyPath) -> None:
        self.marks.update((each, mark) for each, mark in self.profile.marks.items() if each[: len(path)] == path)


@immutable
class Parameter:
    """A parameter of a profile."""

    name: str
    kind: str
    """`choice`, `name`, `host`, `port`, `ports` or `directory`."""
    description: str
    choices: tuple[str, ...]
    is_required: bool
    """It has no default, and its condition is none."""
    when: Mapping[str, Sequence[str]]
    """The values of other parameters for which it makes sense."""


class Shipped(NamedTuple):
    """A profile to begin with."""

    parameters: tuple[Parameter, ...]
    remarks: tuple[str, ...]
    """Lines for whoever completes the configuration."""


def parameters_of(name: str) -> Shipped:
    """Return the parameters of a shipped profile, in order, and its remarks."""
    declared = _read_profile(name)[1]
    found = tuple(
        Parameter(each, of.type, of.description, tuple(of.choices), of.is_required, of.when)
        for each, of in declared.parameters.items()
    )
    return Shipped(found, tuple(declared.remarks))


class _Parameter(Section):
    type: Literal["choice", "name", "host", "port", "ports", "directory"]
    description: str
    choices: list[str] = Field([])
    default: str | list[str] | None = None
    when: dict[str, list[str]] = Field({})

    def field(self) -> Any:
        """Return the field, as pydantic wants it, that reads this parameter."""
        kind = Literal[tuple(self.choices)] if self.choices else _TYPES[self.type]
        return (
            (kind, Field(description=self.description))
            if self.is_required
            else (kind, Field(None, description=self.description))
        )

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return "default" not in self.model_fields_set and not self.when


class _Profile(Section):
    parameters: dict[str, _Parameter]
    document: dict[str, Any]
    files: dict[str, Any] = Field({})
    remarks: list[str] = Field([])


_TYPES: Final[Mapping[str, Any]] = {
    "name": Host,
    "host": Annotated[Host, AfterValidator(lambda host: f"[{host}]" if ":" in host else host)],
    "port": Port,
    "ports": list[Port],
    "directory": Annotated[AbsolutePath, AfterValidator(lambda path: path.rstrip("/"))],
}


def _read_parameters(declared: Mapping[str, _Parameter], user: YAMLDocument) -> tuple[Variables, tuple[Problem, ...]]:
    fields = {name: parameter.field() for name, parameter in declared.items()}
    section: type[BaseModel] = create_model("Parameters", __base__=Section, **fields)
    try:
        given = section.model_validate(user.values.get(SECTION, {}))
    except ValidationError as error:
        return {}, tuple(problems(error.errors(include_url=False), schema_of(section), user, (SECTION,)))
    variables: dict[str, str | list[str]] = {}
    found: list[Problem] = []
    for name, parameter in declared.items():
        applies = _holds(parameter.when, variables)
        if name in given.model_fields_set and not applies:
            conditions = " and ".join(f"{each} is {' or '.join(values)}" for each, values in parameter.when.items())
            found.append(Problem((SECTION, name), f"given here, expected only where {conditions}"))
        value = getattr(given, name) if name in given.model_fields_set else parameter.default
        if isinstance(value, list):
            variables[name] = [str(each) for each in value]
        else:
            variables[name] = [] if value is None else fill(str(value), _texts(variables))[0]
    return variables, tuple(found)


def _holds(when: Mapping[str, list[str]], variables: Variables) -> bool:
    return all(variables[name] in values for name, values in when.items())


def _texts(variables: Variables) -> dict[str, str]:
    return {name: value for name, value in variables.items() if isinstance(value, str)}


@immutable
class _Expansion:
    """Makes a document from a profile's, and notes the origin of each value."""

    profile: YAMLDocument
    marks: dict[KeyPath, Mark] = field(default_factory=dict)

    def expanded(self, value: Value, source: KeyPath, target: KeyPath, variables: Variables) -> Value:
        """Return the document's value at `target` for the profile's value at `source`."""
        self.marks[target] = self.profile.mark(source)
        if isinstance(value, str):
            return fill(value, _texts(variables))[0]
        if isinstance(value, list):
            items: list[Value] = []
            for index, item in enumerate(value):
                for scope in _scopes(item, variables):
                    items.append(self.expanded(item, (*source, index), (*target, len(items)), scope))
            return items
        if isinstance(value, dict) and value.keys() == {"when", "value"}:
            return self.expanded(value["value"], (*source, "value"), target, variables)
        if isinstance(value, dict):
            return {
                key: self.expanded(item, (*source, key), (*target, key), scope)
                for key, item in value.items()
                if key not in {"when", "for_each"}
                for scope in _scopes(item, variables)
            }
        return value


def _scopes(item: Any, variables: Variables) -> list[Variables]:
    """Return the variables for each repetition of `item`."""
    if not isinstance(item, dict):
        return [variables]
    if not _holds(item.get("when", {}), variables):
        return []
    scopes = [variables]
    for variable, parameter in item.get("for_each", {}).items():
        values = variables[parameter]
        each = values if isinstance(values, list) else [values]
        scopes = [{**scope, variable: value} for scope in scopes for value in each]
    return scopes

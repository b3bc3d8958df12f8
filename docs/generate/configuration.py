"""The configuration reference, made from the JSON Schema that `certvigil config schema` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from config.schema.root import json_schema
from docs.generate.markdown import code, table
from docs.generate.markdown import page as whole_page

INTRODUCTION: Final = """The configuration is YAML: one file, or a directory of files.

It is strict: `certvigil config check` reports each mistake with its file, line and key. This page is made from the JSON
Schema that `certvigil config schema` prints for editors. [Describe your host](describe.md) explains the sections by
examples.

- A duration has one unit of `ms`, `s`, `m`, `h` and `d`, as in `90s`.
- `${VARIABLE}` is replaced by the value of an environment variable.
- Anchors and aliases repeat a value within a file. Merge keys (`<<`) are refused.
- A file that its group or others may write is refused.
- A path is absolute. A command is a list of arguments that begins with an absolute path."""

_TITLES: Final = {"_Issuer": "Issuer", "CheckSection": "Check of a policy", "ActionSection": "Action of a policy"}
_DURATION: Final = "([smhd])"
_CODES: Final = "Code"
Schema = Mapping[str, Any]


def page() -> str:
    """Return the page."""
    return whole_page("Configuration reference", INTRODUCTION, _lines(json_schema()))


def _lines(schema: Schema) -> Iterator[str]:
    definitions = schema["$defs"]
    yield "## Top level"
    yield ""
    yield from _properties(schema, definitions)
    for name in _in_order_of_use(schema, definitions):
        section = _object(definitions[name])
        if section is None or not section["properties"]:
            continue
        yield ""
        yield f"## {_title(name)}"
        yield ""
        yield section.get("description", "")
        yield ""
        yield from _properties(section, definitions)


def _properties(section: Schema, definitions: Schema) -> Iterator[str]:
    required = section.get("required", ())
    rows = []
    for key, value in section["properties"].items():
        default = "required" if key in required else _default(value, definitions)
        rows.append((code(key), _kind(value, definitions), value.get("description", ""), default))
    return table(("key", "value", "meaning", "default"), rows)


def _in_order_of_use(schema: Schema, definitions: Schema) -> list[str]:
    """Return the definitions in the order in which a reader who begins at the top comes to them."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            name = _referred(value)
            if name is not None and name not in found:
                found.append(name)
                walk(definitions[name])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(schema["properties"])
    return found


def _referred(value: Schema) -> str | None:
    reference = value.get("$ref")
    return reference.removeprefix("#/$defs/") if isinstance(reference, str) else None


def _object(definition: Schema) -> Schema | None:
    """Return the shape of a section with keys; None for a word of a closed list."""
    if "properties" in definition:
        return definition
    return next((each for each in definition.get("anyOf", ()) if "properties" in each), None)


def _title(name: str) -> str:
    """Return the heading of a definition, such as `Component endpoint` for ComponentEndpoint."""
    if name in _TITLES:
        return _TITLES[name]
    bare = name.removesuffix("Section")
    words = "".join(f" {each}" if each.isupper() else each for each in bare).split()
    return " ".join(words).capitalize()


def _anchor(name: str) -> str:
    return _title(name).lower().replace(" ", "-")


def _kind(value: Schema, definitions: Schema) -> str:
    """Return the possible values, in words."""
    if (name := _referred(value)) is not None:
        return _named(name, definitions)
    if "anyOf" in value:
        kinds = [_kind(each, definitions) for each in value["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in value:
        return code(json.dumps(value["const"]))
    if "enum" in value:
        return " or ".join(code(str(each)) for each in value["enum"])
    match value.get("type"):
        case "array":
            return f"list of: {_kind(value['items'], definitions)}"
        case "object":
            inner = next(iter(value.get("patternProperties", {}).values()), None)
            return "mapping" if inner is None else f"mapping of names to: {_kind(inner, definitions)}"
        case "string":
            return _text(value.get("pattern", ""))
        case "integer" | "number":
            return _number(value)
        case "boolean":
            return "`true` or `false`"
        case other:
            raise AssertionError(other)


def _named(name: str, definitions: Schema) -> str:
    definition = definitions[name]
    if name == _CODES:
        return "[code of a finding](findings.md)"
    section = _object(definition)
    if section is None:
        return " or ".join(code(each) for each in definition["enum"])
    if not section["properties"]:
        return "`{}`"
    link = f"[{_title(name).lower()}](#{_anchor(name)})"
    return f"{link}, or a text" if section is not definition else link


def _text(pattern: str) -> str:
    if _DURATION in pattern:
        return "duration"
    if pattern == "^/.*$":
        return "absolute path"
    return "text"


def _number(value: Schema) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    return "number" if low is None or high is None else f"number from {low} to {high}"


def _default(value: Schema, definitions: Schema) -> str:
    default = value.get("default")
    if default is None or default in ([], {}):
        return ""
    name = _referred(value)
    if name is not None and _object(definitions[name]) is not None:
        return "its own defaults"
    return code(default if isinstance(default, str) else json.dumps(default))

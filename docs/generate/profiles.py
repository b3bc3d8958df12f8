"""The shipped profiles: parameters, files, ports and trust stores, as the loader reads them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import product
from typing import Final

from config.address import join_address
from config.load import load
from config.model import Config
from config.profile import SECTION, Parameter, parameters_of, shipped
from docs.generate.markdown import code, table
from docs.generate.markdown import page as whole_page

INTRODUCTION: Final = """A profile is shipped data about one product. [Describe your host](describe.md#profiles) says
how your configuration adds to it, and `certvigil config show` prints the result on your host."""
_EVERYWHERE: Final = frozenset({"system", "mozilla"})
"""The trust stores of every configuration."""
_NAME: Final = "host.example.com"
"""For each name that a site gives."""


def page() -> str:
    """Return the page."""
    return whole_page("Profiles", INTRODUCTION, _lines())


def _lines() -> Iterator[str]:
    for name in shipped():
        parameters = parameters_of(name).parameters
        yield f"## {name}"
        yield ""
        yield f"The parameters are keys of `{SECTION}`."
        yield ""
        rows = [(code(each.name), _kind(each), each.description, _where(each)) for each in parameters]
        yield from table(("parameter", "value", "meaning", "given where"), rows)
        required = [each for each in parameters if each.is_required]
        choices = [[(each.name, value) for value in each.choices or (_NAME,)] for each in required]
        for values in product(*choices):
            chosen = [(key, value) for key, value in values if value != _NAME]
            yield ""
            yield (
                f"### {name}: {', '.join(f'{key} {value}' for key, value in chosen)}" if chosen else f"### {name}: all"
            )
            yield from _of_host(_config(name, dict(values)))
        yield ""


def _kind(parameter: Parameter) -> str:
    kind = " or ".join(map(code, parameter.choices)) or parameter.kind
    return f"{kind}; required" if parameter.is_required else kind


def _where(parameter: Parameter) -> str:
    conditions = (f"{code(key)} is {' or '.join(values)}" for key, values in parameter.when.items())
    return " and ".join(conditions) or "everywhere"


def _config(profile: str, values: dict[str, str]) -> Config:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "certvigil.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"profile": profile, SECTION: values}))
        os.chmod(path, 0o600)
        config = load(path, {})
    if not isinstance(config, Config):
        raise TypeError(f"the profile {profile} is shipped with mistakes: {config}")
    return config


def _of_host(config: Config) -> Iterator[str]:
    files = [(code(each.name), code(each.path)) for each in config.files]
    kept = [
        (code(component.name), ", ".join(code(f"{folder.directory}/{each}") for each in sorted(folder.names.values())))
        for component in config.components.values()
        if (folder := component.backup_folder) is not None
    ]
    endpoints = [
        (code(each.name), code(join_address(each.host, each.port)), ", ".join(map(code, each.clients)))
        for each in config.endpoints.values()
    ]
    endpoints += [("not TLS", code(join_address(each.host, each.port)), each.reason) for each in config.not_tls]
    stores = [
        (
            code(each.name),
            code(each.path or "")
            or (f"the store of {each.elsewhere} machines" if each.elsewhere else "the anchors of the system"),
            ", ".join(code(client.name) for client in config.clients.values() if client.trusts == each.name),
            code(" ".join(each.service.restart)) if each.service else "",
        )
        for each in config.trust_stores.values()
        if each.name not in _EVERYWHERE
    ]
    for head, rows in (
        (("file", "path"), files),
        (("component", "backups that the product keeps, by date"), kept),
        (("port", "address", "clients"), endpoints),
        (("trust store", "file", "trusted by", "restart after a change"), stores),
    ):
        if rows:
            yield ""
            yield from table(head, rows)

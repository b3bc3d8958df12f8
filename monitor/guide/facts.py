"""The facts that a topic of `certvigil guide` may name: from the configuration, trust stores and installed files.

| fact | meaning |
|---|---|
| PARAMETER | each parameter of the profile, such as `role` |
| `host`, `config`, `socket` | the name of the host; the options `--config` and `--socket`, where they are needed |
| `COMPONENT.ROLE` | the path of an artefact, such as `portal.key` |
| `COMPONENT.backups`, `.backup.ROLE` | another program's folder of backups; a file in it, with `DATE` for its date |
| `COMPONENT.subject`, `.inbox`, `.mode` | what is changed with it: itself, or its group; the inbox of that; the mode |
| `COMPONENT.restart`, `.stop`, `.start` | commands of its service |
| `COMPONENT.url`, `.address`, `.name` | of its first endpoint |
| `COMPONENT.checks` | a list of looks at its endpoints; `for_each: {at: COMPONENT.checks}` gives each the next facts |
| `at.check`, `at.look` | arguments of certvigil: to judge as its clients do; to look without their trust store |
| `at.clients`, `at.address`, `at.name`, `at.port`, `at.url`, `at.target` | its clients; what is looked at |
| `endpoints.CLIENT` | the same list for the endpoints at which a client connects |
| `store.STORE.kind`, `.path` | `bundle`, `system`, `mozilla` or `elsewhere`; its file |
| `store.STORE.restart`, `.stop`, `.start` | commands of the service that reads it |
| `store.STORE.storepass` | the option of Java's keytool with its password, or with the file that has it |
| `store.STORE.password`, `.keytool` | `default` or `file`; Java's keytool, as declared, or of its own Java |
| `store.STORE.roots` | a list, of a bundle: `sha256`, `thumbprint`, `subject`, and `file`, its name in a kit |
| `client.CLIENT.validates`, `.trusts` | `yes` or `no`; the name of its trust store |
| `in_kit` | `yes` where the topic goes to other machines with a kit; else nothing |
| `chain` | whether intermediates are in use: `yes`, `no`, or nothing where that is not known |
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from config.address import join_address
from config.guide import Fact, Facts, Item, Words
from config.model import CertifiStore, Component, Config, Endpoint, PemBundle, Settings, TrustStore
from config.service import Service
from config.vocabulary import LINE_ROLES, FileRole, VerifierName
from monitor.check_command import check_words, judging_words
from probes.certificate import Certificate, roots_in
from probes.keystore import DEFAULT_PASSWORD
from probes.trust import read_certificates

Read = Callable[[str], tuple[Certificate, ...]]
"""Returns the certificates in a file; raises OSError."""

_KEYTOOL: Final = "../../bin/keytool"
"""From the directory of a Java's own keystore."""
_MOST_ROOTS: Final = 20
"""A bundle with more is no site's own: nobody brings all of it to other machines."""


def facts_of_host(
    config: Config, *, config_path: str = "", chain: bool | None = None, read: Read | None = None
) -> Facts:
    """Return the facts about a host.

    `config_path` is the place of its configuration where that is not the default. `chain` is the word of a person.
    """
    read = read or read_certificates
    facts: dict[str, Fact] = {name: value for name, value in config.parameters.items() if value}
    facts["host"] = config.host
    facts["config"] = Words(("--config", config_path) if config_path else ())
    socket = config.settings.socket
    facts["socket"] = Words(("--socket", socket) if socket != Settings().socket else ())
    for component in config.components.values():
        facts.update((f"{component.name}.{key}", value) for key, value in _of_component(component, config) if value)
    for store in config.trust_stores.values():
        facts.update((f"store.{store.name}.{key}", value) for key, value in _of_store(store, read) if value)
    for client in config.clients.values():
        facts[f"client.{client.name}.validates"] = "yes" if client.validates else "no"
        facts[f"client.{client.name}.trusts"] = client.trusts
        at = [each for each in config.endpoints.values() if client.name in each.clients]
        facts[f"endpoints.{client.name}"] = tuple(_checks(at, config, client.name))
    known = _has_chain(config, read) if chain is None else chain
    if known is not None:
        facts["chain"] = "yes" if known else "no"
    return facts


def _of_component(component: Component, config: Config) -> Iterator[tuple[str, Fact]]:
    for role, path in component.artefacts.files.items():
        yield str(role), path
    if component.backup_folder is not None:
        folder = component.backup_folder
        yield "backups", folder.directory
        dated = ((role, name.replace("*", "DATE")) for role, name in folder.names.items())
        yield from ((f"backup.{role}", os.path.join(folder.directory, name)) for role, name in dated)
    subject = config.subject_of(component.name)
    yield "subject", subject
    yield "inbox", f"{config.settings.actor.inbox_directory}/{subject}"
    yield "mode", str(component.mode)
    yield from _of_service(component.service)
    endpoints = [config.endpoints[each] for each in component.endpoints]
    checks = list(_checks(endpoints, config))
    yield "checks", tuple(checks)
    if checks:
        yield from ((key, checks[0][key]) for key in ("url", "address", "name"))


def _of_service(service: Service | None) -> Iterator[tuple[str, Fact]]:
    if service is not None:
        commands = {"restart": service.restart, "stop": service.stop, "start": service.start, "test": service.test}
        yield from ((name, Words(command)) for name, command in commands.items() if command is not None)


def _checks(endpoints: Iterable[Endpoint], config: Config, client: str | None = None) -> Iterator[Item]:
    """Yield how `certvigil check` looks at endpoints: as one client does, or once as all that judge in the same way."""
    for endpoint in endpoints:
        address = join_address(endpoint.host, endpoint.port)
        for (trusts, verifier, name), clients in _alike(endpoint, config, client).items():
            store = config.trust_stores[trusts].source
            look = check_words(endpoint, name)
            words = [*look, *judging_words(store, verifier)]
            yield {
                "check": Words(words),
                "look": Words(look),
                "clients": ", ".join(clients),
                "address": address,
                "name": name,
                "port": str(endpoint.port),
                "url": f"https://{join_address(name, endpoint.port)}",
                "target": endpoint.name,
            }


def _alike(
    endpoint: Endpoint, config: Config, client: str | None
) -> Mapping[tuple[str, VerifierName, str], Sequence[str]]:
    """Return the clients of an endpoint by trust store, verifier and name; those that validate, if any does."""
    clients = [config.clients[each] for each in endpoint.clients if client in {None, each}]
    judging = [each for each in clients if each.validates] or clients
    found: dict[tuple[str, VerifierName, str], list[str]] = {}
    for each in judging:
        for name in each.names or (endpoint.verified_name,):
            found.setdefault((each.trusts, each.verifier, name), []).append(each.name)
    return found


def _of_store(store: TrustStore, read: Read) -> Iterator[tuple[str, Fact]]:
    if not isinstance(store.source, PemBundle):
        yield (
            "kind",
            "elsewhere" if store.elsewhere else "mozilla" if isinstance(store.source, CertifiStore) else "system",
        )
        return
    yield "kind", "bundle"
    yield "path", store.source.path
    password = store.password_file
    yield (
        "storepass",
        Words(("-storepass", DEFAULT_PASSWORD.decode()) if password is None else ("-storepass:file", password)),
    )
    yield "password", "default" if password is None else "file"
    yield "keytool", store.keytool or os.path.normpath(os.path.join(os.path.dirname(store.source.path), _KEYTOOL))
    yield from _of_service(store.service)
    try:
        roots = roots_in(read(store.source.path))
    except OSError:
        return
    if len(roots) <= _MOST_ROOTS:
        yield "roots", tuple(_of_root(each, name) for each, name in zip(roots, names_of(roots, "root"), strict=True))


def _of_root(root: Certificate, name: str) -> Item:
    return {"sha256": root.sha256, "thumbprint": thumbprint(root), "subject": root.title, "file": f"{name}.cer"}


def thumbprint(certificate: Certificate) -> str:
    """Return the SHA-1 of a certificate in capitals, by which Windows calls it."""
    return hashlib.sha1(certificate.der, usedforsecurity=False).hexdigest().upper()


def names_of(certificates: Sequence[Certificate], stem: str) -> list[str]:
    """Return a file name for each certificate: the stem alone where there is one, else with a number."""
    return [stem] if len(certificates) == 1 else [f"{stem}-{number}" for number in range(1, len(certificates) + 1)]


def _has_chain(config: Config, read: Read) -> bool | None:
    """Whether the installed certificates have intermediates; None where the files do not tell.

    A certificate that signed itself, such as a default one, says nothing about the next certificate.
    """
    anchors = {root.subject for store in config.trust_stores.values() for root in _roots_of(store, read)}
    answers: set[bool | None] = set()
    for component in config.components.values():
        files = component.artefacts.files
        held = {
            role: _read_or_none(path, read)
            for role, path in files.items()
            if role is not FileRole.KEY and role not in LINE_ROLES
        }
        leaves = held.get(FileRole.CERTIFICATE, held.get(FileRole.COMBINED, ()))
        if held.get(FileRole.CHAIN) or len(leaves) > 1:
            return True
        answers.update(False if not each.self_issued and each.issuer in anchors else None for each in leaves)
    return False if answers == {False} else None


def _roots_of(store: TrustStore, read: Read) -> tuple[Certificate, ...]:
    return _read_or_none(store.source.path, read) if isinstance(store.source, PemBundle) else ()


def _read_or_none(path: str, read: Read) -> tuple[Certificate, ...]:
    try:
        return read(path)
    except OSError:
        return ()

"""`certvigil export`: a directory with what brings roots to other machines."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actions.component_files import read_password
from actions.world import World
from config.document import Mistake
from config.guide import fill, why_not
from config.immutable import immutable
from config.model import Config, PemBundle
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import LINE_ROLES, FileRole, Machine
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.guide import GuideOptions, known_facts, topics
from monitor.commands.json_output import print_json
from monitor.commands.new_file import make_directory, why_not_ours, write_new_file
from monitor.commands.screen import Screen
from monitor.dialect import certificate_object
from monitor.guide.kit import Brought, Files, Signer, macos, sort_out, windows
from monitor.guide.markdown import markdown
from probes.certificate import Certificate
from probes.opening import read_as_ourselves
from probes.private_key import load_private_key
from probes.store_content import LARGEST
from probes.trust import read_certificates

UNUSABLE: Final = 3
_MOST: Final = 20
"""A site has no more roots of its own."""


@immutable
class KitOptions:
    """The place of the kit, and its further content."""

    out: str
    config: str
    default_config: str
    others: tuple[str, ...] = ()
    """Files, or components, whose intermediates are in the kit."""
    sign_certificate: str | None = None
    sign_key: str | None = None
    password_file: str | None = None
    as_json: bool = False


class _CannotError(Exception):
    """A kit cannot be made; the text says why and is printable."""


def export(machine: Machine, source: str, options: KitOptions) -> int:
    """Write the kit that brings the roots of `source`, a trust store or a file, to machines; return 3 where it cannot.

    No file is overwritten by another content.
    """
    config = loaded(options.config)
    if config is None:
        return UNUSABLE
    try:
        anchors = _anchors(source, config)
        others = [each for name in options.others for each in _others(name, config)]
        brought, remarks = sort_out(anchors, others)
        _check(brought, source)
        files = _files(machine, brought, options)
        files |= _runbook(machine, config, options)
        _write(files, options.out)
    except _CannotError as error:
        complain("certvigil export: {}", harmless(str(error)))
        return UNUSABLE
    except OSError as error:
        complain(
            "certvigil export: {}: {}",
            printable(str(error.filename or options.out), 4096),
            printable(error.strerror or str(error)),
        )
        return UNUSABLE
    _show(files, brought, [*remarks, *_ended(brought, time.time())], options)
    return 0


def _check(brought: Brought, source: str) -> None:
    if not brought.roots:
        raise _CannotError(sentence("there is no root in {}: a root is a CA's and self-signed", _shown(source)))


def _shown(text: str) -> Printable:
    return printable(text, 4096)


def _anchors(source: str, config: Config) -> tuple[Certificate, ...]:
    """Return the anchors of a trust store, or the certificates in a file; raises OSError."""
    store = config.trust_stores.get(source)
    if store is None:
        if "/" in source or os.path.isfile(source):
            return _read(source)
        raise _CannotError(unknown([source], tuple(config.trust_stores), Printable("trust store")) or "")
    if not isinstance(store.source, PemBundle):
        raise _CannotError(
            sentence(
                "the roots of {} are those of public CAs, which other machines have already: "
                "name a trust store of your own, or the file of a root, such as ./root.crt",
                _shown(source),
            )
        )
    return _read(store.source.path)


def _read(path: str) -> tuple[Certificate, ...]:
    found = read_certificates(path)
    if not found:
        raise _CannotError(sentence("{} holds no certificate", _shown(path)))
    if len(found) > _MOST:
        raise _CannotError(
            sentence(
                "{} holds {} certificates, expected at most {}: name the file of your own root",
                _shown(path),
                len(found),
                _MOST,
            )
        )
    return found


def _others(name: str, config: Config) -> tuple[Certificate, ...]:
    """Return the certificates in a file, or of CAs among those of a component or group; raises OSError."""
    components = [config.components[each] for each in config.members_of(name) if each in config.components]
    if not components:
        if "/" in name or os.path.isfile(name):
            return _read(name)
        what = Printable("component or group" if config.groups else "component")
        raise _CannotError(unknown([name], (*config.groups, *config.components), what) or "")
    files = [
        path
        for component in components
        for role, path in component.artefacts.files.items()
        if role not in {FileRole.KEY, *LINE_ROLES}
    ]
    found = (each for path in files if os.path.lexists(path) for each in read_certificates(path) if each.is_ca)
    return tuple(dict.fromkeys(found))


def _files(machine: Machine, brought: Brought, options: KitOptions) -> Files:
    signer = _signer(options)
    if machine is Machine.MACOS:
        return macos(brought, signer)
    if signer is not None:
        raise _CannotError("only the configuration profile of macOS is signed")
    return windows(brought)


def _signer(options: KitOptions) -> Signer | None:
    """Return who signs; raises OSError."""
    if options.sign_certificate is None and options.sign_key is None:
        return None
    if options.sign_certificate is None or options.sign_key is None:
        raise _CannotError("--sign-key and --sign-certificate belong together")
    certificates = _read(options.sign_certificate)
    world = World()
    data = world.read(world.resolve(options.sign_key))[1]
    password = None if options.password_file is None else read_password(options.password_file, world)
    try:
        key = load_private_key(data, password, validated=True)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise _CannotError(
            sentence(
                "{}: it holds no private key in PEM or DER that can be opened: --password-file opens an encrypted key",
                _shown(options.sign_key),
            )
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _CannotError(sentence("{}: expected an RSA or EC key", _shown(options.sign_key)))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificates[0].public_key_sha256() != hashlib.sha256(public).hexdigest():
        raise _CannotError(
            sentence(
                "the key in {} is not that of the first certificate in {}",
                _shown(options.sign_key),
                _shown(options.sign_certificate),
            )
        )
    return Signer(key, certificates)


def _runbook(machine: Machine, config: Config, options: KitOptions) -> Files:
    """Return the runbook of the configuration about this kind of machine, where there is one."""
    found = topics(config)
    if isinstance(found, Mistake):
        raise _CannotError(str(found))
    topic = found.topics.get(machine.topic)
    if topic is None:
        return {}
    facts = {**known_facts(config, GuideOptions(options.config, options.default_config)), "in_kit": "yes"}
    if why_not(topic, facts):
        return {}
    # The proofs are commands of certvigil, which is not there, with paths and addresses of this host.
    return {"runbook.md": markdown(replace(fill(topic, facts), proofs=())).encode()}


def _write(files: Files, directory: str) -> None:
    """Write the files, or none where another content is there, or others could change it; raises OSError."""
    _check_place(directory)
    missing: dict[str, bytes] = {}
    for name, data in files.items():
        path = os.path.join(directory, name)
        if not os.path.lexists(path):
            missing[path] = data
            continue
        if read_as_ourselves(path, LARGEST) != data:
            raise _CannotError(
                sentence("{} is there with another content: name another directory with --out", _shown(path))
            )
    make_directory(directory)
    # Somebody else may have made it meanwhile.
    _check_place(directory)
    for path, data in missing.items():
        write_new_file(path, data)


def _check_place(directory: str) -> None:
    if (why := why_not_ours(directory)) is not None:
        raise _CannotError(
            sentence(
                "others could change what is written into {} ({}): name a directory with --out that nobody but you and "
                "root can change, such as a new one in your home directory",
                _shown(directory),
                why,
            )
        )


def _ended(brought: Brought, now: float) -> Iterator[Printable]:
    for each in brought.all.values():
        if each.not_after is not None and each.not_after <= now:
            yield sentence("it has ended already: {}", each.title)


def _show(files: Files, brought: Brought, remarks: Sequence[Printable], options: KitOptions) -> None:
    if options.as_json:
        print_json(
            {
                "directory": os.path.abspath(options.out),
                "files": sorted(files),
                "certificates": [certificate_object(each) for each in brought.all.values()],
                "remarks": list(remarks),
            }
        )
        return
    screen = Screen()
    screen.table(
        ("file", "certificate", "sha256"),
        [(sentence("{}.cer", harmless(name)), each.title, harmless(each.sha256)) for name, each in brought.all.items()],
    )
    aside = screen.aside()
    for each in remarks:
        aside.say("note: {}", each, style="yellow")
    aside.say("wrote {} files into {}; README.md says how they are used", len(files), _shown(options.out))

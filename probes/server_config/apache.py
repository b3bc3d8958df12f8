"""Apache with mod_ssl: `SSLCertificateFile` of virtual hosts, and the ports of `Listen`.

Sections of `IfModule` and `IfDefine` count by the modules that are loaded and the names that are defined before them,
as far as the files say it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from config.text import Printable, printable, sentence
from probes.server_config.files import HostFiles
from probes.server_config.lines import TOO_MUCH, Expansion, listener
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_ROOTS: Final = {"/etc/apache2/apache2.conf": "/etc/apache2", "/etc/httpd/conf/httpd.conf": "/etc/httpd"}
"""The directory of relative paths, by the file with which Apache begins."""
_ENVIRONMENT: Final = {"APACHE_CONFDIR": "/etc/apache2", "APACHE_LOG_DIR": "/var/log/apache2", "APACHE_RUN_DIR": ""}
"""What Debian's /etc/apache2/envvars sets."""
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_SECTION: Final = re.compile(r"<\s*+(/?)(\w++)([^>]*+)>")
_DEEPEST: Final = 12
_MOST_CONTINUED: Final = 100
_CONCERNING: Final = frozenset(
    {"sslcertificatefile", "sslcertificatekeyfile", "sslengine", "include", "includeoptional"}
)
_MODULE_FILES: Final = {"mod_ssl.c": "ssl_module", "mod_gnutls.c": "gnutls_module", "mod_md.c": "md_module"}


class _Line(NamedTuple):
    name: str
    words: list[str]


@dataclass(slots=True)
class _Host:
    """The main server, or a virtual host."""

    file: str
    addresses: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    chain: str | None = None
    engine: str | None = None


def read(files: HostFiles) -> ServerReading:
    """Return all sites of Apache."""
    reading = ServerReading()
    for given, root in _ROOTS.items():
        for main in reading.begins(files, [given]):
            reader = _Reader(files, reading, root, _Host(main))
            reader.file(main, 0)
            reader.conclude()
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading, base: str, server: _Host) -> None:
        self._files = files
        self._reading = reading
        self._base = base
        self._server = server
        self._hosts: list[_Host] = []
        self._listens: list[ConfiguredListener] = []
        self._modules: set[str] = set()
        self._variables = dict(_ENVIRONMENT)
        self._expansion = Expansion()
        self._open: list[tuple[str, bool]] = []
        """Each open section with whether its content counts."""

    def file(self, path: str, depth: int) -> None:
        """Take all of a file."""
        text = self._files.read(path)
        if text is None:
            return
        for line in _logical(text):
            if (section := _SECTION.fullmatch(line)) is not None:
                self._section(section[1] == "/", section[2].lower(), section[3].strip(), path)
                continue
            given = _words(line)
            if given is None or (given.name == "" and not given.words):
                continue
            if not all(counts for _, counts in self._open):
                if given.name in _CONCERNING and any(name in {"if", "macro"} for name, _ in self._open):
                    self._reading.puzzle(path, Printable("a condition or a macro in it concerns certificates"))
                continue
            self._directive(given, path, depth)

    def _section(self, closes: bool, name: str, argument: str, path: str) -> None:
        if closes:
            if self._open:
                self._open.pop()
            return
        self._open.append((name, self._counts(name, argument)))
        if name == "virtualhost" and all(counts for _, counts in self._open):
            self._hosts.append(_Host(path, self._expanded(argument).split()))

    def _counts(self, name: str, argument: str) -> bool:
        wanted = not argument.startswith("!")
        argument = argument.lstrip("!").strip().strip('"')
        if name == "ifmodule":
            return (_MODULE_FILES.get(argument, argument) in self._modules) is wanted
        if name == "ifdefine":
            return (argument in self._variables) is wanted
        return name not in {"if", "elseif", "else", "macro"}

    @property
    def _here(self) -> _Host:
        within = any(name == "virtualhost" for name, _ in self._open)
        return self._hosts[-1] if within else self._server

    def _directive(self, line: _Line, path: str, depth: int) -> None:
        words = [self._expanded(each) for each in line.words]
        if not words:
            return
        match line.name:
            case "include" | "includeoptional":
                self._include(words[0], path, depth)
            case "serverroot":
                self._base = words[0]
            case "loadmodule":
                self._modules.add(words[0])
            case "define":
                self._variables[words[0]] = words[1] if len(words) > 1 else ""
            case "listen":
                if (found := listener(words[0])) is not None:
                    self._listens.append(found)
                else:
                    self._reading.puzzle(path, sentence("Listen {}", printable(words[0], 200)))
            case "mdomain" | "mdomainset":
                self._reading.puzzle(path, Printable("mod_md renews the certificates of MDomain by itself"))
            case _:
                _of_host(self._here, line.name, words)

    def _include(self, pattern: str, path: str, depth: int) -> None:
        if depth >= _DEEPEST or "${" in pattern:
            self._reading.puzzle(path, sentence("Include {} is not followed", printable(pattern, 200)))
            return
        for each in self._files.matching(self._files.located(pattern, self._base)):
            inner = self._below(each) if self._files.is_directory(each) else [each]
            for file in inner:
                self.file(file, depth + 1)

    def _below(self, directory: str) -> list[str]:
        return [each for each in self._files.names(directory) if not self._files.is_directory(each)]

    def _expanded(self, text: str) -> str:
        return self._expansion.put(_VARIABLE, text, lambda found: self._variables.get(found[1], found[0]))

    def conclude(self) -> None:
        """Add the sites of all hosts."""
        if self._expansion.is_spent:
            self._reading.puzzle(self._server.file, TOO_MUCH)
            return
        if "ssl_module" not in self._modules:
            return
        for host in (self._server, *self._hosts):
            engine = host.engine if host.engine is not None else self._server.engine
            certificates = host.certificates or self._server.certificates
            keys = host.keys or self._server.keys
            if engine not in {"on", "optional"} or (host is self._server and self._server.engine is None):
                continue
            listeners = list(self._listeners(host))
            if not listeners:
                continue
            for position, certificate in enumerate(certificates):
                key = keys[position] if position < len(keys) else certificate
                odd = next((each for each in (certificate, key) if "${" in each or each.startswith("pkcs11:")), None)
                if odd is not None:
                    self._reading.puzzle(host.file, sentence("{} is no path of a file", printable(odd, 200)))
                    continue
                chain = host.chain or self._server.chain
                paths = CertificateFiles(
                    self._located(certificate), self._located(key), self._located(chain) if chain else None
                )
                self._reading.add(paths, listeners, host.names, host.file)

    def _located(self, path: str) -> str:
        return self._files.located(path, self._base)

    def _listeners(self, host: _Host) -> Iterator[ConfiguredListener]:
        """Yield the ports that are open and that the host is for."""
        wanted = [each for text in host.addresses if (each := listener(text)) is not None]
        every = [text for text in host.addresses if listener(text) is None]
        for each in self._listens:
            is_own = host is self._server and not self._hosts
            named = any(each.port == own.port and (own.host in {"", each.host} or not each.host) for own in wanted)
            if is_own or named or every:
                yield each


def _of_host(host: _Host, name: str, words: list[str]) -> None:
    """Take a directive about one host."""
    match name:
        case "servername":
            host.names.append(_name_of(words[0]))
        case "serveralias":
            host.names += map(_name_of, words)
        case "sslengine":
            host.engine = words[0].lower()
        case "sslcertificatefile":
            host.certificates.append(words[0])
        case "sslcertificatekeyfile":
            host.keys.append(words[0])
        case "sslcertificatechainfile":
            host.chain = words[0]
        case _:
            pass


def _name_of(text: str) -> str:
    """Return the name of `[SCHEME://]NAME[:PORT]`."""
    return text.rpartition("://")[2].partition(":")[0]


def _logical(text: str) -> Iterator[str]:
    """Yield each line without comments; a backslash at its end continues it."""
    held, number = "", 0
    for raw in text.splitlines():
        line = held + raw.strip() if held else raw.strip()
        if line.endswith("\\") and number < _MOST_CONTINUED:
            held, number = line[:-1] + " ", number + 1
            continue
        held, number = "", 0
        if line and not line.startswith("#"):
            yield line
    if held.strip() and not held.startswith("#"):
        yield held


def _words(line: str) -> _Line | None:
    """Return the directive of a line; None where its quotation marks do not close."""
    name, _, rest = line.partition(" ")
    name, tab, more = name.partition("\t")
    rest = f"{more} {rest}" if tab else rest
    parts = shlex.shlex(rest, posix=True, punctuation_chars=False)
    parts.whitespace_split, parts.commenters, parts.escape = True, "", ""
    try:
        return _Line(name.lower(), list(parts))
    except ValueError:
        return None

"""The effective configuration as a document, every default and everything from a profile written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, Final

import yaml

from config.address import join_address
from config.channel import Channel, FindingMatch, Heartbeat, Notifications
from config.document import KeyPath, YAMLDocument, escape, resolve
from config.expected import AllowedTLS, DefaultCertificate
from config.fields import duration_text, last_day_text, share_text
from config.model import (
    ActorSettings,
    Artefacts,
    BackupFolder,
    CertifiStore,
    Client,
    ClientCertificate,
    Component,
    Config,
    Endpoint,
    OtherMachines,
    PemBundle,
    Rotation,
    Settings,
    SystemStore,
    Thresholds,
    TrustStore,
    Waiver,
    Watch,
    X509CertSettings,
)
from config.probing import MODULES, ProbeModule
from config.reach import Reach
from config.revocation import RevocationSettings
from config.service import Service
from config.show_policy import given, show_policy
from config.vocabulary import KeyKind, ProbeKind, VerifierName

MASK: Final = "***"
"""The text in place of a secret."""
_DEFAULT: Final = Thresholds()


def show(config: Config) -> str:
    """Return `config` as YAML in ASCII that loads as an equal configuration, sources and digest aside.

    Secrets in the configuration itself are masked. A text with masked secrets does not load.
    """
    targets = chain.from_iterable(component.endpoints for component in config.components.values())
    owned = frozenset(targets)
    document = {
        "host": config.host,
        **({} if config.guides is None else {"guides": config.guides}),
        **_settings(config.settings),
        "watch": [_watch(each) for each in config.watches if not each.of_lists],
        "endpoints": [_endpoint(each) for name, each in config.endpoints.items() if name not in owned],
        "components": {name: _component(each, config.endpoints) for name, each in config.components.items()},
        "groups": {name: list(each.members) for name, each in config.groups.items()},
        "trust_stores": {name: _trust_store(each) for name, each in config.trust_stores.items()},
        "clients": {name: _client(each) for name, each in config.clients.items()},
        **({"rotation": _rotation(config.rotation)} if config.rotation is not None else {}),
        "policies": [show_policy(each) for each in config.policies],
        "waivers": [_waiver(each) for each in config.waivers],
        "not_tls": [{"address": join_address(each.host, each.port), "reason": each.reason} for each in config.not_tls],
        "channels": {name: _channel(each) for name, each in config.channels.items()},
        "notifications": _notifications(config.notifications),
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120)


def show_marked(config: Config, document: YAMLDocument) -> str:
    """Return what `show` does, with a comment behind each value that says where it was written; without, a default."""
    lines = show(config).splitlines()
    root = yaml.compose("\n".join(lines), Loader=yaml.SafeLoader)
    comments: dict[int, str] = {}
    for path, line in _places(root, ()):
        mark = document.marks.get(path)
        if mark is not None and len(path) > 1 and path[0] in _COMMENTED:
            comments.setdefault(line, str(mark))
    return "".join(
        f"{line}  # {comments[number]}\n" if number in comments else f"{line}\n" for number, line in enumerate(lines)
    )


_COMMENTED: Final = frozenset({"components", "clients", "trust_stores", "groups"})
"""Sections whose values have the places in the document that they are shown at; lists elsewhere may be in another."""


def _places(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Yield each path below a node, lists whole, with the number of its key's line, from 0."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        below = (*path, str(key.value))
        # A text over several lines has no room for a comment.
        if isinstance(value, yaml.SequenceNode) or key.start_mark.line == value.end_mark.line:
            yield below, key.start_mark.line
        yield from _places(value, below)


class _Dumper(yaml.SafeDumper):
    """Writes text so that the core schema reads it as text, and `${` so that it stays."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", escape(text), style)


_Dumper.add_representer(str, _represent_text)


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "state_directory": settings.state_directory,
        "actor": _actor(settings.actor),
        "validation": {
            "successes": settings.validation.successes,
            "interval": duration_text(settings.validation.interval),
            "deadline": duration_text(settings.validation.deadline),
            "handshakes": settings.validation.handshakes,
        },
        "socket": settings.socket,
        "rescan": duration_text(settings.rescan),
        "settle": duration_text(settings.settle),
        "pending": duration_text(settings.pending),
        "concurrency": settings.concurrency,
        "history_days": settings.history_days,
        "web": given(
            {
                "listen": list(settings.web.listen),
                "config_file": settings.web.config_file,
                "allowed_hosts": list(settings.web.allowed_hosts),
                "console": settings.web.console,
                "external_url": settings.web.external_url,
                # A hash of so many random bits tells nothing.
                "tokens": {
                    each.name: {"sha256": each.sha256, "scopes": sorted(map(str, each.scopes))}
                    for each in settings.web.tokens
                },
            }
        ),
        "probe": {
            "allow": _reaches(settings.probe),
            "files": list(settings.probe_files),
            "modules": {
                name: _module(each) for name, each in settings.probe_modules.items() if MODULES.get(name) != each
            },
        },
        "metrics": _metrics(settings.x509_cert),
        "undeclared": {
            "report": settings.undeclared.report,
            "exclude_ports": sorted(settings.undeclared.exclude_ports),
            "every": duration_text(settings.undeclared.every),
        },
        "tls": _tls(settings.tls),
        "revocation": _revocation(settings.revocation),
    }


def _module(module: ProbeModule) -> dict[str, Any]:
    via = given({"proxy_url": module.proxy.url if module.proxy else None})
    turns = [
        {
            **({"expect_bytes": each.expect_bytes.decode()} if each.expect_bytes else {}),
            **({"expect": each.expect} if each.expect else {}),
            "send": each.send,
            "starttls": each.starttls,
        }
        for each in (*module.before, *module.within)
    ]
    said = {
        "tls": module.protocol is None and not module.before,
        **given({"starttls": str(module.protocol) if module.protocol else None}),
        "query_response": turns,
    }
    return given(
        {
            "prober": str(module.kind),
            "target": module.target,
            "timeout": duration_text(module.timeout) if module.timeout is not None else None,
            "tls_config": given({"server_name": module.server_name, "insecure_skip_verify": not module.verifies}),
            str(module.kind): said if module.kind is ProbeKind.TCP else via or None,
        }
    )


def _metrics(x509_cert: X509CertSettings | None) -> dict[str, Any]:
    if x509_cert is None:
        return {"x509_cert": False}
    return {
        "x509_cert": True,
        "x509_relative": x509_cert.relative,
        "x509_trim_path_components": x509_cert.trim_path_components,
    }


def _revocation(settings: RevocationSettings) -> dict[str, Any]:
    fetch = settings.fetch
    if fetch is None:
        return {"crls": list(settings.crls)}
    shown = {
        "crls": fetch.crls,
        "ocsp": fetch.ocsp,
        "proxy": None if fetch.proxy is None else f"http://{join_address(fetch.proxy.host, fetch.proxy.port)}",
        "proxy_credentials_file": None if fetch.proxy is None else fetch.proxy.credentials_file,
        "allow": _reaches(fetch.allow),
        "every": duration_text(fetch.every),
        "timeout": duration_text(fetch.timeout),
        "largest": fetch.largest,
    }
    return {"crls": list(settings.crls), "fetch": given(shown)}


def _reaches(reaches: Sequence[Reach]) -> list[dict[str, Any]]:
    return [
        {"networks": list(map(str, each.networks)), "names": list(each.names), "ports": sorted(each.ports)}
        for each in reaches
    ]


def _tls(tls: AllowedTLS) -> dict[str, Any]:
    return {"protocols": sorted(map(str, tls.protocols)), "ciphers": list(tls.ciphers)}


def _default(default: DefaultCertificate | None) -> dict[str, Any]:
    if default is None:
        return {}
    signs = {"self_signed": default.self_signed, "issuers": list(default.issuers), "subjects": list(default.subjects)}
    signs |= {"own_sha256": sorted(default.own_sha256)} if default.own_sha256 else {}
    return {"default_certificate": signs, "own_certificate": str(default.own)}


def _actor(actor: ActorSettings) -> dict[str, Any]:
    return given(
        {
            **asdict(actor),
            "operators": list(actor.operators),
            "approval_lifetime": duration_text(actor.approval_lifetime),
            "backup_lifetime": duration_text(actor.backup_lifetime),
            "offer_lifetime": duration_text(actor.offer_lifetime),
        }
    )


def _watch(watch: Watch) -> dict[str, Any]:
    return given(
        {
            "files": list(watch.patterns),
            "exclude": list(watch.exclude),
            "trust_store": watch.trust_store,
            "thresholds": _thresholds(watch.thresholds),
            "password_files": list(watch.password_files),
            "pointers": list(watch.pointers),
            "labels": dict(watch.labels) or None,
            "expression": watch.expression,
        }
    )


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return given({"name": endpoint.name, "server_name": endpoint.server_name, **_looking(endpoint)})


def _looking(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "address": join_address(endpoint.host, endpoint.port),
        "addresses": str(endpoint.addresses),
        "source_address": endpoint.source_address,
        "sni": endpoint.sni,
        **_client_certificate(endpoint.client_certificate),
        "protocol": str(endpoint.protocol),
        "proxy": endpoint.proxy.url if endpoint.proxy else None,
        "proxy_credentials_file": endpoint.proxy.credentials_file if endpoint.proxy else None,
        "proxy_protocol": str(endpoint.proxy_protocol) if endpoint.proxy_protocol else None,
        "every": duration_text(endpoint.every),
        "timeout": duration_text(endpoint.timeout),
        "minimum_version": str(endpoint.minimum_version),
        "supported": {"every": duration_text(endpoint.supported_every)} if endpoint.supported_every else None,
        "tls": _tls(endpoint.tls),
        "clients": list(endpoint.clients),
        "thresholds": _thresholds(endpoint.thresholds),
        **_key_types(endpoint.key_types),
        "sends_intermediates": str(endpoint.sends_intermediates) if endpoint.sends_intermediates else None,
        **_default(endpoint.default_certificate),
        "labels": dict(endpoint.labels) or None,
    }


def _client_certificate(files: ClientCertificate | None) -> dict[str, Any]:
    return {} if files is None else {"client_certificate": files.certificate, "client_key": files.key}


def _key_types(kinds: tuple[KeyKind, ...]) -> dict[str, Any]:
    if len(kinds) > 1:
        return {"key_types": list(map(str, kinds))}
    return {"key_type": str(kinds[0])} if kinds else {}


def _component(component: Component, endpoints: Mapping[str, Endpoint]) -> dict[str, Any]:
    return {
        "artefacts": _artefacts(component.artefacts),
        "endpoints": [
            given({"server_name": endpoint.server_name, **_looking(endpoint)})
            for endpoint in map(endpoints.__getitem__, component.endpoints)
        ],
        "clients": list(component.clients),
        "not_served_after": duration_text(component.not_served_after),
        **({"service": _service(component.service)} if component.service else {}),
        "allowed_issuers": [given(asdict(each)) for each in component.allowed_issuers],
        "mode": str(component.mode),
        "write_mode": str(component.write_mode),
        "labels": dict(component.labels),
        "keys": str(component.keys),
        **given({"do_first": component.do_first}),
        **({} if component.backup_folder is None else {"backup_folder": _backup_folder(component.backup_folder)}),
        **({} if component.min_lifetime is None else {"min_lifetime": duration_text(component.min_lifetime)}),
        **_default(component.default_certificate),
        **given({"guide": component.guide}),
    }


def _backup_folder(folder: BackupFolder) -> dict[str, Any]:
    return {"directory": folder.directory, "names": {str(role): name for role, name in folder.names.items()}}


def _artefacts(artefacts: Artefacts) -> dict[str, Any]:
    lines = [{"file": each.file, "syntax": str(each.syntax), "setting": each.setting} for each in artefacts.lines]
    return given({**asdict(artefacts), "lines": lines or None})


def _service(service: Service) -> dict[str, Any]:
    if service.unit is not None:
        commands: dict[str, Any] = {"unit": service.unit, "test": service.test}
    else:
        named = ("test", "reload", "restart", "stop", "start")
        commands = {name: getattr(service, name) for name in named}
    return {
        **{name: list(each) if isinstance(each, tuple) else each for name, each in given(commands).items()},
        "activate": str(service.activate),
        "timeout": duration_text(service.timeout),
        "quiesce": service.quiesce,
        "writes": list(service.writes),
    }


def _rotation(rotation: Rotation) -> dict[str, Any]:
    return {"new": rotation.new, "old": list(rotation.old)}


def _trust_store(store: TrustStore) -> dict[str, Any]:
    match store.source:
        case PemBundle(path):
            return {
                "bundle": path,
                **given({"password_file": store.password_file, "keytool": store.keytool}),
                "mode": str(store.mode),
                **({"service": _service(store.service)} if store.service is not None else {}),
                "write_mode": str(store.write_mode),
            }
        case CertifiStore():
            return {"certifi": True}
        case SystemStore():
            return {"system": True}
        case OtherMachines(kind):
            return {"elsewhere": str(kind)}


def _client(client: Client) -> dict[str, Any]:
    return {
        "trusts": client.trusts,
        "verifier": str(client.verifier),
        "intermediates": list(client.intermediates),
        "names": list(client.names),
        "validates": client.validates,
        "revocation": str(client.revocation),
        **({} if client.validation_switch is None else {"validation_switch": given(asdict(client.validation_switch))}),
        # The setting is refused where it has no meaning.
        **({"security_level": client.security_level} if client.verifier is VerifierName.OPENSSL else {}),
        **({"post_quantum": True} if client.post_quantum else {}),
    }


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {
        "target": waiver.target,
        "finding": str(waiver.code),
        "reason": waiver.reason,
        "until": last_day_text(waiver.until),
    }


def _channel(channel: Channel) -> dict[str, Any]:
    if channel.urls_file is not None:
        return {"urls_file": channel.urls_file}
    return {"urls": [f"{url.partition('://')[0]}://{MASK}" for url in channel.urls]}


def _notifications(notifications: Notifications) -> dict[str, Any]:
    beat = notifications.heartbeat
    shown = given(
        {
            "enabled": notifications.enabled,
            "routes": [
                {
                    "channels": list(each.channels),
                    "severity": str(each.severity),
                    **({"events": list(map(str, each.events))} if each.events else {}),
                    **_match(each.match),
                    **({"for": duration_text(each.lasting)} if each.lasting else {}),
                }
                for each in notifications.routes
            ],
            "digest": notifications.digest
            and {
                "channels": list(notifications.digest.channels),
                "cron": notifications.digest.cron,
                "timezone": notifications.digest.timezone,
            },
            "remind": {
                str(severity): "never" if seconds is None else duration_text(seconds)
                for severity, seconds in notifications.remind.items()
            },
            "resolved_after": duration_text(notifications.resolved_after),
            "attempts": notifications.attempts,
            "silences": [
                {**_match(each.match), "reason": each.reason, "until": last_day_text(int(each.until))}
                for each in notifications.silences
            ],
            "heartbeat": beat and {**_secret_url(beat), "every": duration_text(beat.every)},
        }
    )
    # Without it, the default would apply.
    return {**shown, "runbook": notifications.runbook}


def _secret_url(beat: Heartbeat) -> dict[str, str]:
    return {"url_file": beat.url_file} if beat.url_file is not None else {"url": MASK}


def _match(match: FindingMatch) -> dict[str, Any]:
    named: dict[str, Any] = {
        "target": list(match.targets),
        "component": list(match.components),
        "label": {name: list(values) for name, values in match.labels},
        "kind": list(map(str, match.kinds)),
        "finding": list(map(str, match.codes)),
    }
    return {key: value for key, value in named.items() if value}


def _thresholds(thresholds: Thresholds | None) -> dict[str, Any] | None:
    if thresholds is None:
        return None
    return {
        name: {"share": share_text(level.share), "days": level.days if level.days % 1 else int(level.days)}
        for name, level, default in (
            ("notice", thresholds.notice, _DEFAULT.notice),
            ("warning", thresholds.warning, _DEFAULT.warning),
            ("critical", thresholds.critical, _DEFAULT.critical),
        )
        if level != default
    }

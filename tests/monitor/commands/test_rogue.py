"""Root asks with commands, and a rogue daemon, a rogue actor and a doctored database answer: none moves a cursor."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socketserver
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer.main

from config.vocabulary import Code, Severity
from monitor.commands import app
from monitor.decide.situation import FindingState
from monitor.dialect import dated, iso, iso_exactly
from monitor.http.situations import situations_to_plain
from monitor.main import main
from monitor.state.events import FindingRaised
from monitor.store import database_path
from tests.kit.authority import ROOT
from tests.kit.situations import NOW, attempt, candidate, situation, validity
from tests.kit.store import EXPIRING, LEAF, added, presented, write

EVIL = "evil\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e\r\n\x7f\ud800"
UNICODE = EVIL[:-1]
"""That part of it which a database and a parser of JSON take."""
WHEN = "2027-01-15T08:00:00.000Z"
HASH = "ab" * 32
FOUND = {"severity": "critical", "code": EVIL, "subject": EVIL, "detail": EVIL, "since": WHEN, "cure": EVIL}
LAST = {"at": EVIL, "action": EVIL, "outcome": EVIL}
DECISION = {"action": EVIL, "policy": EVIL, "status": EVIL, "waits_for": EVIL}
COMPONENT = {
    **dict.fromkeys(("component", "state", "mode", "approved_until", "plan"), EVIL),
    "members": [EVIL],
    "frozen": None,
    "decision": DECISION,
    "objections": [],
    "plans": [dict.fromkeys(("plan", "action", "since", "approved_until", "about"), EVIL)],
    "given_up": [{"spki_sha256": EVIL, "why": EVIL}],
    "last": LAST,
    "notes": [EVIL],
}
TARGET = {
    **dict.fromkeys(("target", "component", "expiry", "last_look"), EVIL),
    "verdict": "critical",
    "days_left": 1.5,
    "findings": [FOUND],
    "pending": [FOUND],
}
TOLD = {
    "alerts": [
        {
            **dict.fromkeys(("problem", "channel", "severity", "since", "headline"), EVIL),
            "acknowledged": {"who": EVIL},
        }
    ],
    "undelivered": [{**dict.fromkeys(("channel", "title", "why", "fate"), EVIL), "attempts": EVIL}],
    "silences": [
        {**dict.fromkeys(("until", "id", "reason"), EVIL), "targets": [EVIL], "components": [], "findings": []}
    ],
}
OWN = {
    "ready": False,
    "no_actor": EVIL,
    "waivers": [dict.fromkeys(("until", "code", "target", "reason"), EVIL)],
    "not_ready": [EVIL],
    "watch": {"directories_polled": EVIL, "polled_because": EVIL},
    "configuration": {"stale": True},
    "not_looked_at": [dict.fromkeys(("address", "transport", "reason"), EVIL)],
}
POISONED = situation(
    subject=UNICODE,
    certificate=validity(90, 31),
    candidate=replace(candidate(), identity=UNICODE),
    attempts=(attempt(),),
    findings=(FindingState(UNICODE, Code.EXPIRED, Severity.CRITICAL, 1_700_000_000.0),),
)
LEAF_OF_SERVER = {
    **dict.fromkeys(("subject", "issuer", "sha256"), EVIL),
    "names": [EVIL],
    "not_before": WHEN,
    "not_after": WHEN,
}
ISSUED = {
    "certificate": LEAF_OF_SERVER,
    "chain": [LEAF_OF_SERVER],
    "origin": "own_ca",
    "root": LEAF_OF_SERVER,
    "lacking_root": [{"trust_store": EVIL, "clients": [EVIL], "root": EVIL}],
    "verdict": EVIL,
}
SERVED = {
    **ISSUED,
    **dict.fromkeys(("target", "address", "server_name", "expected_to_send"), EVIL),
    "failure": None,
    "as_installed": False,
    "sends_intermediates": False,
    "negotiated": [dict.fromkeys(("address", "version", "cipher", "group"), EVIL)],
    "clients": [{"client": EVIL, "accepts": accepts, "why": EVIL, "unvalidated": EVIL} for accepts in (True, False)],
}
INVENTORY = {
    "at": WHEN,
    "components": [
        {
            **ISSUED,
            "component": EVIL,
            "group": EVIL,
            "files": [{"path": EVIL, "failure": {"detail": EVIL}}],
            "served": [SERVED, {**SERVED, "certificate": None, "failure": {"detail": EVIL}}],
        }
    ],
    "endpoints": [SERVED],
    "trust_stores": [
        {
            **dict.fromkeys(("trust_store", "path", "entries", "duplicates"), EVIL),
            "clients": [EVIL],
            "ended": [EVIL],
            "earliest_end": {"at": WHEN, "entry": EVIL},
            "next_end": {"at": WHEN, "entry": f"other {EVIL}"},
        }
    ],
    "not_looked_at": [dict.fromkeys(("address", "transport", "reason"), EVIL)],
}
RESOURCES: Mapping[str, Any] = {
    "/api/v1/inventory": INVENTORY,
    "/api/v1/rotation": {
        "new": {"subject": EVIL},
        "notes": [EVIL],
        "done": EVIL,
        "steps": [{"progress": "next", "deed": EVIL, "about": EVIL}],
    },
    "/api/v1/status": OWN,
    "/api/v1/targets": {"items": [TARGET, {**TARGET, "findings": [], "pending": []}], "total": 2},
    "/api/v1/components": {"items": [COMPONENT, {**COMPONENT, "frozen": EVIL}], "total": 2},
    "/api/v1/notifications": TOLD,
    "/api/v1/notifications/silences": {"until": EVIL, "id": EVIL},
    "/api/v1/notifications/retry": {"count": EVIL},
    "/api/v1/notifications/drop": {"detail": [{"loc": [EVIL], "msg": EVIL}]},
    "/api/v1/reload": {"mistakes": [EVIL]},
}
LEAF_FACTS = {"names": [EVIL], "subject": EVIL, "not_after": EVIL, "key": {"kind": EVIL, "bits": EVIL}, "issuer": EVIL}
EFFECT = {"client": EVIL, "target": EVIL, "accepted_before": True, "accepts": False, "why": EVIL, "lost": True}
EFFECT |= {"unvalidated": True, "unvalidated_before": False}
PLAN = {
    "kind": EVIL,
    "components": [EVIL],
    "group": EVIL,
    "hash": EVIL,
    "certificates": [{"component": EVIL, "before": LEAF_FACTS, "after": LEAF_FACTS}],
    "changes": [{"path": EVIL, "before": {"sha256": EVIL}, "after": {"sha256": EVIL}, "says": EVIL, "changes": True}],
    "commands": [{"component": EVIL, "command": [EVIL]}],
}
WAITING = {"hash": EVIL, "kind": EVIL, "components": [EVIL], "at": NOW, "approved": False, "shown": EVIL}
ENDING = {"outcome": "frozen", "sentence": EVIL, "remarks": [EVIL]}
ACTION_REQUEST = {"kind": "replace", "components": [EVIL], "backup_set": EVIL, "losses": [EVIL]}
RECORDS = [
    ("", "proposed", {"hash": HASH, "action": ACTION_REQUEST, "case": {EVIL: EVIL}, "shown": EVIL}),
    ("", "approved", {"hash": HASH, "by": EVIL, "until": time.time() + 60, "why": EVIL}),
    ("", "rejected", {"hash": HASH, "kind": "replace", "case": {EVIL: EVIL}, "by": EVIL, "why": EVIL}),
    ("", "root_confirmed", {"components": ["windows"], "root": hashlib.sha256(ROOT.der()).hexdigest(), "by": EVIL}),
    (EVIL, "frozen", {"reason": EVIL, "components": [EVIL]}),
]
SAID = {"sentence": EVIL}
REQUEST = {
    **dict.fromkeys(("key", "group", "by", "at", "until"), EVIL),
    "components": [EVIL],
    "names": [EVIL],
    "installed": False,
}
ANSWERS: Mapping[str, list[Any]] = {
    "plan": [
        {"plan": PLAN, "remarks": [EVIL], "effects": [EFFECT], "waiting": [WAITING], "given_up": {EVIL: [EVIL]}}
    ],
    "carry_out": [
        {"step": {"event": EVIL, "at": EVIL}},
        {"plan": PLAN, "remarks": [EVIL], "effects": [EFFECT], "endings": [ENDING], "contested": {EVIL: SAID}},
    ],
    "approve": [{"approved": HASH, "until": iso(time.time() + 60)}],
    "reject": [{"rejected": EVIL}],
    "recover": [{"frozen": {EVIL: EVIL}, "quarantined": {EVIL: EVIL}, "endings": [ENDING]}],
    "backups": [
        {
            "sets": [
                dict.fromkeys(("component", "set", "never"), EVIL) | {"taken": EVIL, "default": True, "files": [EVIL]}
            ]
        }
    ],
    "csr": [{"csr": {**REQUEST, "pem": EVIL, "made": True, "kind": EVIL}}],
    "requests": [{"requests": [{**REQUEST, "pem": EVIL, "expired": True}]}],
    "cancel": [{"cancelled": EVIL}],
    "offer": [{"offered": {"by": EVIL, "at": EVIL, "way": EVIL, "certificates": [EVIL]}, "cannot": EVIL}],
    "offers": [
        {
            "offers": [
                dict.fromkeys(("offer", "component", "by", "at", "way"), EVIL)
                | {"certificates": [{"subject": EVIL, "sha256": EVIL}]},
                dict.fromkeys(("offer", "component", "by", "at", "way", "unusable"), EVIL) | {"certificates": []},
            ],
            "more": 3,
        }
    ],
    "withdraw": [{"withdrawn": EVIL, "component": EVIL}],
    "follow": [
        *(
            {
                "record": dated({
                    "at": NOW, "transaction": t, "event": e, "data": d,
                    "host": EVIL, "epoch": EVIL, "sequence": number,
                }, iso_exactly)
            }
            for number, (t, e, d) in enumerate(RECORDS, 1)
        ),
        {"here": len(RECORDS), "epoch": EVIL},
    ],
}  # fmt: skip


class AsDaemon(BaseHTTPRequestHandler):
    """Answers whatever is asked of a daemon."""

    def answer(self) -> None:
        """Answer."""
        resource = self.path.partition("?")[0]
        found = RESOURCES.get(resource, {"detail": EVIL})
        if resource == "/api/v1/situations":
            found = {"situations": situations_to_plain([POISONED])}
        data = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class AsActor(socketserver.StreamRequestHandler):
    """Answers whatever is asked of an actor; where `answers` has nothing, that it cannot."""

    answers: ClassVar[Mapping[str, list[Any]]] = ANSWERS

    def handle(self) -> None:
        """Answer."""
        verb = json.loads(self.rfile.readline())["verb"]
        for each in self.answers.get(verb, [{"cannot": EVIL}]):
            self.wfile.write(json.dumps(each).encode() + b"\n")


class RogueServer(socketserver.ThreadingUnixStreamServer):
    """Either, at a path."""

    daemon_threads = True


class RogueHost:
    """Where root types commands."""

    def __init__(self, directory: Path) -> None:
        self.daemon, self.actor = f"{directory}/d.sock", f"{directory}/a.sock"
        self.config = f"{directory}/certvigil.yaml"
        document = {
            "state_directory": str(directory),
            "socket": self.daemon,
            "actor": {"socket": self.actor, "directory": f"{directory}/actor"},
            "trust_stores": {"windows": {"elsewhere": "windows"}},
            "policies": [{"name": "renew", "when": {"finding": "expired"}, "mode": "approve", "do": ["activate"]}],
        }
        Path(self.config).write_text(json.dumps(document))
        Path(directory, CERTIFICATE).write_bytes(ROOT.pem())
        database = database_path(str(directory))
        write(database, [added("t"), presented("t", 2.0, LEAF), FindingRaised("t", 3.0, EXPIRING)])
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE targets SET name = ?1, location = ?1, component = ?1", (UNICODE,))
            connection.execute("UPDATE findings SET detail = ?1, subject = ?1, severity = ?1", (UNICODE,))
            connection.execute("UPDATE certificates SET subject = ?1", (UNICODE,))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RogueHost]:
    made = RogueHost(tmp_path_factory.mktemp("rogue"))
    with RogueServer(made.daemon, AsDaemon) as daemon, RogueServer(made.actor, AsActor) as actor:
        for each in (daemon, actor):
            threading.Thread(target=each.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        for each in (daemon, actor):
            each.shutdown()


CERTIFICATE = "certificate.pem"
"""A file that is given beside the configuration."""
COMMANDS = {
    "status": ("status", "--socket"),
    "inventory": ("inventory", "--socket"),
    "reload": ("reload", "--socket"),
    "notify show": ("notify", "show", "--socket"),
    "notify acknowledge": ("notify", "acknowledge", "x", "--socket"),
    "notify silence": ("notify", "silence", "--for", "1h", "--reason", "x", "--socket"),
    "notify unsilence": ("notify", "unsilence", "x", "--socket"),
    "notify retry": ("notify", "retry", "--socket"),
    "notify drop": ("notify", "drop", "--socket"),
    "policy explain": ("policy", "explain", UNICODE, "--socket"),
    "policy test": ("policy", "test", "--at", WHEN, "--socket"),
    "history": ("history", "--since", "1970-01-01", "--config"),
    "audit": ("audit", "--config"),
    "plan": ("plan", "web", "--config"),
    "replace": ("replace", "web", "--config"),
    "activate": ("activate", "web", "--config"),
    "rollback": ("rollback", "web", "--config"),
    "reset-to-default": ("reset-to-default", "web", "--config"),
    "approve": ("approve", HASH, "--wait", "--config"),
    "reject": ("reject", HASH, "--config"),
    "recover": ("recover", "--config"),
    "backups": ("backups", "--config"),
    "csr": ("csr", "web", "--config"),
    "csr --list": ("csr", "--list", "--config"),
    "csr --show": ("csr", "--show", "evil", "--config"),
    "csr --cancel": ("csr", "--cancel", HASH, "--config"),
    "rotate": ("rotate", CERTIFICATE, "--config"),
    "trust confirm": ("trust", "confirm", "windows", "--root", HASH, "--config"),
    "offer": ("offer", "web", CERTIFICATE, "--config"),
    "offer --list": ("offer", "--list", "--config"),
    "offer --withdraw": ("offer", "--withdraw", HASH, "--config"),
    "doctor": ("doctor", "--socket"),
}
ASK_NOBODY = {
    "json-schema",
    *("check", "discover", "run", "actor", "demo", "notify test", "explain", "guide", "export", "init", "why"),
    *("config check", "config schema", "config show", "config units"),
    *("ca init", "ca sign"),
    *(f"trust {each}" for each in ("list", "add", "remove", "restore", "password", "export", "enforce", "relax")),
}
"""These print what stands in files and comes from servers, or nothing of others."""


def test_every_command_is_held_by_this() -> None:
    group: Any = typer.main.get_command(app)
    named = set()
    for name, command in group.commands.items():
        named |= {f"{name} {each}" for each in command.commands} if hasattr(command, "commands") else {name}
    assert named == {each.partition(" --")[0] for each in COMMANDS} | ASK_NOBODY


class Terminal(io.StringIO):
    """What a command takes for a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_that_it_is_told_does_more_than_show(
    host: RogueHost, command: str, stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run(host, command, stream, monkeypatch)
    assert "evil" in said
    assert_harmless(said)


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if COMMANDS[each][-1] == "--config" and each != "history"]
)
def test_nor_does_the_reason_why_not(host: RogueHost, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"refused": {"objections": [{"ground": EVIL, "detail": EVIL}], "effects": [EFFECT]}}
    for answers in ({}, {key: [refused] for key in ANSWERS.keys() - {"follow"}}):
        monkeypatch.setattr(AsActor, "answers", answers)
        said = run(host, command, Terminal, monkeypatch)
        assert "evil" in said
        assert_harmless(said)


def run(host: RogueHost, command: str, stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> str:
    words = COMMANDS[command]
    said = stream()
    said.reconfigure = lambda **_: None  # type: ignore[attr-defined]
    where = {"--socket": host.daemon, "--config": host.config}[words[-1]]
    more = ("--config", host.config) if words[0] in {"policy", "doctor"} else ()
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", "120")
        patched.setenv("TERM", "xterm-256color")
        patched.delenv("NO_COLOR", raising=False)
        words = tuple(str(Path(host.config).with_name(each)) if each == CERTIFICATE else each for each in words)
        patched.setattr(sys, "argv", ["certvigil", *words, where, *more])
        patched.setattr(sys, "stdout", said)
        patched.setattr(sys, "stderr", said)
        with pytest.raises(SystemExit):
            main()
    return said.getvalue()


def assert_harmless(said: str) -> None:
    """Fail where there is anything but text, our own colours and the ends of lines."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert not {each for each in plain if not each.isprintable()} - {"\n", "\t"}

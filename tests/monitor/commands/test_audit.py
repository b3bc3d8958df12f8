"""`certvigil audit` tells who did what, of what one asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from actions.audit import ChainEntry, add, chain, read
from actions.journal import Event, Journal, Record, Shorter
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.context import actor_context
from monitor.state.trust import read_trust_context
from tests.kit.daemon import certvigil, on_a_terminal, with_usual_paths

DAY = 86_400.0
START = 1_795_000_000.0
"""2026-11-18T11:06:40Z."""


def plan(kind: str, *components: str) -> dict[str, object]:
    return {"kind": kind, "components": list(components)}


RECORDS: Sequence[tuple[str, Event, Mapping[str, object]]] = (
    ("", Event.PROPOSED, {"hash": "aa11", "action": plan("replace", "web", "mail"), "by": "uid 990 (certvigil)"}),
    ("", Event.APPROVED, {"hash": "aa11", "by": "alice", "until": START + 9 * DAY}),
    ("tx1", Event.BEGIN, {"hash": "aa11", "plan": plan("replace", "web", "mail"), "by": "alice", "candidate": "c1"}),
    ("tx1", Event.SWITCHED, {}),
    ("tx1", Event.ROLLED_BACK, {"outcome": "rolled_back", "cause": "not_served", "reason": "it is not served"}),
    ("tx1", Event.QUARANTINED, {"candidate": "c1", "reason": "it is not served"}),
    ("tx2", Event.BEGIN, {"hash": "bb22", "plan": plan("activate", "portal"), "by": "bob\x1b[31m"}),
    ("tx2", Event.COMMITTED, {"outcome": "committed", "cause": "none", "reason": "in use"}),
    ("", Event.RELEASED, {"candidate": "c1"}),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the configuration of an actor that does not run and left its journal: one record a day."""
    directory = tmp_path_factory.mktemp("audit")
    path = directory / "certvigil.yaml"
    settings = {"actor": {"directory": str(directory / "actor"), "socket": str(directory / "none")}}
    path.write_text(json.dumps(settings))
    path.chmod(0o600)
    (directory / "actor").mkdir()
    with closing(Journal(World(), str(directory / "actor/journal.jsonl"))) as journal:
        for day, (transaction, event, data) in enumerate(RECORDS):
            journal.append(Record(START + day * DAY, transaction, event, data))
    return str(path)


def audit(config: str, *arguments: str) -> list[tuple[str, str]]:
    """Return what happened and who did it, of what is told."""
    ran = certvigil("audit", "--config", config, *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    if ran.stdout == "no record fits these options\n":
        return []
    header, *rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert header == ["when", "event", "transaction or plan", "who", "why"]
    return [(row[1], row[3]) for row in rows]


WEB = [
    ("proposed replace web, mail", "uid 990 (certvigil)"),
    ("approved replace web, mail", "alice"),
    ("begin replace web, mail", "alice"),
    ("rolled_back replace web, mail", "alice"),
    ("quarantined replace web, mail", "alice"),
]
PORTAL = [("begin activate portal", r"bob\x1b[31m"), ("committed activate portal", r"bob\x1b[31m")]
RELEASED = [("released replace web, mail", "")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], [*WEB, *PORTAL, *RELEASED]),
        (["web"], [*WEB, *RELEASED]),
        (["port*"], PORTAL),
        (["mail", "portal"], [*WEB, *PORTAL, *RELEASED]),
        (["--who", "alice"], WEB[1:]),
        (["--who", "bob*"], PORTAL),
        (["--who", "uid 990"], WEB[:1]),
        (["--who", "uid 990 (certvigil)"], WEB[:1]),
        (["--action", "activate"], PORTAL),
        (["--action", "recover"], RELEASED),
        (["--since", "2026-11-24"], [*PORTAL, *RELEASED]),
        (["--since", "2026-11-24", "--until", "2026-11-25"], PORTAL[:1]),
        (["--until", "2026-11-19T12:00:00Z", "web"], WEB[:2]),
    ],
)
def test_the_journal_is_filtered(config: str, arguments: list[str], told: list[tuple[str, str]]) -> None:
    assert audit(config, *arguments) == told


def test_json_has_each_record_whole_and_is_filtered_as_well(config: str) -> None:
    ran = certvigil("audit", "--json", "--config", config, "web")
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [each["event"] for each in records][:4] == ["proposed", "approved", "begin", "switched"]
    assert records[2]["data"]["candidate"] == "c1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wbe"], "there is no component 'wbe'; did you mean 'web'?"),
        (["--action", "replce"], "did you mean 'replace'"),
        (["--since", "soon"], "--since soon: write a span of time"),
        (["--since", "2026-11-25", "--until", "2026-11-24"], "--until 2026-11-24 is before --since 2026-11-25"),
    ],
)
def test_what_is_not_known_is_an_error_that_suggests_what_is(config: str, arguments: list[str], says: str) -> None:
    ran = certvigil("audit", "--config", config, *arguments)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert says in ran.stderr


def test_requests_and_offers_are_found_by_the_name_of_their_command(config: str, tmp_path: Path) -> None:
    path, directory = copied(config, tmp_path)
    of_web = {"components": ["web"], "by": "alice"}
    with closing(Journal(World(), str(directory / "journal.jsonl"))) as journal:
        for day, event in enumerate((Event.REQUESTED, Event.REQUEST_WITHDRAWN, Event.OFFERED), 9):
            journal.append(Record(START + day * DAY, "", event, of_web))
    assert audit(path, "--action", "csr") == [("requested web", "alice"), ("request_withdrawn web", "alice")]
    assert audit(path, "--action", "offer", "web") == [("offered web", "alice")]
    assert audit(path, "--action", "confirm") == []


def test_nothing_that_fits_is_said(config: str) -> None:
    ran = certvigil("audit", "--config", config, "--who", "carol")
    assert (ran.returncode, ran.stdout) == (0, "no record fits these options\n")


def test_a_terminal_shows_it_without_breaking_a_word(config: str) -> None:
    for columns in (60, 80, 200):
        shown = on_a_terminal("audit", "--config", config, columns=columns).output
        assert "2026-11-18T11:06:40Z" in shown
        assert "rolled_back" in shown


def test_the_audit_has_what_the_journal_does_not_have_any_more(config: str, tmp_path: Path) -> None:
    """The journal has the steps, the audit what is older, and what both have is shown once."""
    path, directory = copied(config, tmp_path)
    with closing(Journal(World(), str(directory / "journal.jsonl"))) as journal:
        add(World(), str(directory / "audit"), journal.records())
        journal.shorten(lambda records: Shorter(records[-1:], Record(START + 9 * DAY, "", Event.THAWED)))
    ran = certvigil("audit", "--json", "--config", path)
    events = [json.loads(line)["event"] for line in ran.stdout.splitlines()]
    assert events == [str(event) for _, event, _ in RECORDS if event is not Event.SWITCHED] + ["thawed"]


def test_the_chain_is_verified_and_a_hash_that_was_kept_elsewhere_is_looked_for(config: str, tmp_path: Path) -> None:
    path, directory = copied(config, tmp_path)
    with closing(Journal(World(), str(directory / "journal.jsonl"))) as journal:
        last = add(World(), str(directory / "audit"), journal.records())
    assert last is not None
    ran = certvigil("audit", "--verify", "--holds", last.sha256, "--config", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"the chain holds: entries: 8; the last has the sha256 {last.sha256}\n"
    ran = certvigil("audit", "--verify", "--holds", "0" * 64, "--config", path)
    assert (ran.returncode, "no entry has the sha256 0000" in ran.stderr) == (2, True)

    segment = directory / "audit/0000000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"alice", b"carol", 1))
    ran = certvigil("audit", "--verify", "--config", path)
    assert (ran.returncode, ran.stdout) == (2, "the chain does not hold\n")
    assert "0000000001.jsonl: the entry after entry 1 is damaged" in ran.stderr
    ran = certvigil("audit", "--config", path)
    assert (ran.returncode, "see `certvigil audit --verify`" in with_usual_paths(ran.stderr)) == (0, True)


def copied(config: str, tmp_path: Path) -> tuple[str, Path]:
    """Return the configuration of another actor with the same journal, and its directory."""
    directory = tmp_path / "actor"
    shutil.copytree(Path(config).parent / "actor", directory)
    path = tmp_path / "certvigil.yaml"
    path.write_text(json.dumps({"actor": {"directory": str(directory), "socket": str(tmp_path / "none")}}))
    path.chmod(0o600)
    return str(path), directory


def test_an_audit_that_cannot_be_written_keeps_nobody_from_acting(
    config: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, directory = copied(config, tmp_path)
    (directory / "audit").write_bytes(b"no directory")
    loaded = load(path, {})
    assert isinstance(loaded, Config)
    with actor_context(read_trust_context(loaded)[0]) as context:
        context.transaction.journal.append(Record(START + 9 * DAY, "", Event.THAWED, {"components": []}))
    assert "are not in the audit yet" in caplog.text
    (directory / "audit").unlink()
    with actor_context(read_trust_context(loaded)[0]) as context:
        context.audit()
    found = [each for each in chain(read(World(), str(directory / "audit"))) if isinstance(each, ChainEntry)]
    assert [each.record["event"] for each in found][-2:] == ["released", "thawed"]

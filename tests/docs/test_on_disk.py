"""The records and the manifest that the architecture shows are what a transaction writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions import backup
from actions.journal import Event, Journal, decode
from actions.transaction import transact
from actions.world import World
from tests.kit.documents import ROOT, blocks
from tests.kit.scene import Scene


def _shown(language: str, beginning: str) -> str:
    found = [each.text for each in blocks(ROOT / "docs" / "architecture.md") if each.language == language]
    (text,) = [each for each in found if each.startswith(beginning)]
    return text


RECORDS = _shown("text", '{"at"').strip().splitlines()
MANIFEST = _shown("json", "{").strip()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records and the manifest of a transaction."""
    scene = Scene(str(tmp_path_factory.mktemp("disk") / "scene"))
    context = scene.context()
    journal = Journal(context.world, f"{scene.root}/state/journal.jsonl", "www1")
    ending = transact(replace(context, journal=journal), scene.order())
    lines = Path(f"{scene.root}/state/journal.jsonl").read_bytes().rstrip(b"\0").splitlines()
    manifest = Path(f"{scene.root}/state/backups/web/{ending.transaction}/manifest.json").read_text()
    return [json.loads(line) for line in lines], json.loads(manifest)


def test_each_record_has_the_keys_that_a_transaction_writes(
    written: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    by_event = {record["event"]: record for record in written[0]}
    shown = [json.loads(line.replace("{...}", "{}")) for line in RECORDS]
    assert [each["event"] for each in shown] == [Event.BEGIN, Event.INTENT, Event.COMMITTED]
    assert [[*each] for each in shown] == [[*by_event[each["event"]]] for each in shown]


def test_the_records_that_are_shown_whole_are_read() -> None:
    whole = RECORDS[1:]
    assert [each.event for each in decode("".join(f"{line}\n" for line in whole).encode()).records] == [
        Event.INTENT,
        Event.COMMITTED,
    ]


def test_the_manifest_is_read_and_has_the_keys_that_a_transaction_writes(
    written: tuple[list[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    shown = json.loads(MANIFEST)
    assert [*shown] == [*written[1]]
    assert [[*each] for each in shown["files"]] == [[*each] for each in written[1]["files"][:1]]
    path = tmp_path / shown["component"] / shown["transaction"] / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(MANIFEST)
    (of,) = backup.sets(World(), str(tmp_path), shown["component"])
    assert [each.path for each in of.copies] == ["/etc/nginx/tls/site.crt"]

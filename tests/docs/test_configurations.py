"""Each configuration in the documents passes `certvigil config check`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.commands.config import check
from monitor.lab.ca import Authority
from tests.kit.documents import DOCUMENTS, Text, blocks, name

WHOLE: Final = frozenset({"README.md", "docs/start.md"})
"""Documents whose configurations are to be copied as they are; those of others are parts of one."""
ELSEWHERE: Final[Mapping[str, Any]] = {
    "components": {
        "web": {
            "artefacts": {"certificate": "/etc/nginx/tls/site.crt", "key": "/etc/nginx/tls/site.key"},
            "service": {"unit": "nginx.service", "activate": "restart"},
            "allowed_issuers": [{"trust_store": "corporate"}],
        }
    },
    "trust_stores": {
        "corporate": {"bundle": "/etc/certvigil/corporate.pem"},
        "jdk": {"bundle": "/etc/certvigil/jdk-roots.pem"},
    },
    "clients": {"browser": {"trusts": "mozilla"}, "java": {"trusts": "jdk"}},
    "channels": {"ops": {"urls": ["json://localhost/ops"]}, "pager": {"urls": ["json://localhost/pager"]}},
}
"""What a part of a configuration takes to stand somewhere else."""


def configurations(document: Path) -> list[Text]:
    return [block for block in blocks(document) if block.language == "yaml"]


ALL: Final = [(name(document), each) for document in DOCUMENTS for each in configurations(document)]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, names by name; where both say something, `above` does."""
    found = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict) and key in ELSEWHERE:
            found[key] = {**found[key], **value}
        else:
            found[key] = value
    return found


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the files that configurations name, as /etc/certvigil would have them."""
    monkeypatch.setenv("PAGER_URL", "json://localhost/pager")
    anchors = Authority.root().pem()
    for file in ("corporate.pem", "jdk-roots.pem"):
        (tmp_path / file).write_bytes(anchors)
    texts = {"ops.urls": "json://localhost/ops\n", "heartbeat.url": "https://localhost/\n", "web.yml": "{}\n"}
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    for each in tmp_path.iterdir():
        os.chmod(each, 0o600)
    return tmp_path


@pytest.mark.parametrize(("document", "block"), ALL, ids=[block.where for _, block in ALL])
def test_a_configuration_passes_config_check(
    document: str, block: Text, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = yaml.safe_load(block.text)
    # As it is written: what YAML takes and the strict reader does not, is a mistake, too.
    text = block.text if document in WHOLE else yaml.safe_dump(merged(ELSEWHERE, plain))
    path = directory / "certvigil.yaml"
    path.write_text(text.replace("/etc/certvigil/", f"{directory}/"))
    os.chmod(path, 0o600)
    assert check(str(path)) == 0, capsys.readouterr().err


def test_there_are_configurations() -> None:
    assert len(ALL) > 12
    assert {document for document, _ in ALL} > WHOLE

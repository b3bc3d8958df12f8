"""Whether keys are meant to be read is said once for all components, or by one for itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from config.vocabulary import Keys


@pytest.mark.parametrize(
    ("whole", "own", "holds"),
    [
        (None, None, Keys.READ),
        ("unread", None, Keys.UNREAD),
        (None, "unread", Keys.UNREAD),
        ("unread", "read", Keys.READ),
    ],
)
def test_a_component_says_it_for_itself_or_goes_by_the_whole(
    whole: str | None, own: str | None, holds: Keys, tmp_path: Path
) -> None:
    component = {"artefacts": {"certificate": "/a", "key": "/b"}, **({"keys": own} if own else {})}
    path = tmp_path / "certvigil.yaml"
    path.write_text(json.dumps({"components": {"web": component}, **({"keys": whole} if whole else {})}))
    path.chmod(0o600)
    config = load(str(path), {})
    assert isinstance(config, Config), config
    assert config.components["web"].keys is holds
    assert [each.keys for each in config.files] == [holds, holds]

"""`certvigil check` says the key of the issuer, as `allowed_issuers` takes it."""

from __future__ import annotations

import json
from pathlib import Path

from monitor.lab.ca import bundle
from tests.kit.authority import ISSUING, ROOT, fresh
from tests.kit.daemon import certvigil


def test_the_issuers_key_is_said_in_text_and_json_and_is_what_the_configuration_takes(tmp_path: Path) -> None:
    leaf, store = tmp_path / "site.pem", tmp_path / "root.pem"
    leaf.write_bytes(bundle([fresh(), ISSUING]))
    store.write_bytes(ROOT.pem())
    said = json.loads(certvigil("check", str(leaf), "--ca-file", str(store), "--json").stdout)
    first, second = said["targets"][0]["chain"]
    assert first["issuer_spki_sha256"] == second["spki_sha256"] != first["spki_sha256"]
    assert second["issuer_spki_sha256"], "of the trust store"
    text = certvigil("check", str(leaf), "--ca-file", str(store)).stdout
    assert f"spki_sha256 {first['issuer_spki_sha256']}" in "".join(text.splitlines())
    alone = json.loads(certvigil("check", str(leaf), "--json").stdout)["targets"][0]["chain"]
    assert alone[1]["issuer_spki_sha256"] is None, "nobody at hand has issued it"

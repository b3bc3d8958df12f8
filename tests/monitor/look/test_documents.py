"""The daemon and documents: a kubeconfig that a pattern matches, and places that a watch names."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

from config.model import Settings, Watch
from monitor.lab.ca import Authority
from tests.kit.monitors import config_with, file_monitor, until

ROOT = Authority.root()


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


def test_a_kubeconfig_is_a_target_with_its_entries_and_the_labels_of_its_path(tmp_path: Path) -> None:
    path = tmp_path / "alice" / "config"
    path.parent.mkdir()
    user = ROOT.issue("alice")

    def write(chain: bytes) -> None:
        document = {
            "kind": "Config",
            "clusters": [{"cluster": {"certificate-authority-data": encoded(ROOT.pem())}}],
            "users": [{"user": {"client-certificate-data": encoded(chain)}}],
        }
        path.write_text(json.dumps(document))

    async def story() -> None:
        expression = f"{re.escape(str(tmp_path))}/(?P<owner>[^/]+)/.+"
        watch = Watch((f"{tmp_path}/**",), expression=expression)
        write(user.pem())
        async with file_monitor(config_with(settings=Settings(settle=0.1), watches=(watch,))) as kept:
            shown = kept.page.shown[str(path)]
            assert shown.labels == (("owner", "alice"),)
            assert shown.keystore is not None
            assert [each.alias for each in shown.keystore.entries] == [
                "/clusters/0/cluster/certificate-authority-data",
                "/users/0/user/client-certificate-data",
            ]
            assert [each.subject for each in shown.presented] == ["CN=alice"]
            write(user.pem()[:100])
            await until(lambda: "unreadable" in kept.codes(str(path)))
            assert [each.subject for each in kept.page.shown[str(path)].presented] == ["CN=alice"]
            write(ROOT.issue("alice", subject="bob").pem())
            await until(lambda: kept.codes(str(path)) == set())
            await until(lambda: [each.subject for each in kept.page.shown[str(path)].presented] == ["CN=bob"])

    asyncio.run(story())


def test_places_that_a_new_configuration_names_are_looked_at_though_the_file_did_not_change(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(f"tls: {{crt: {encoded(ROOT.issue('www.example.com').der())}}}\n")

    async def story() -> None:
        config = config_with(watches=(Watch((f"{tmp_path}/*",)),))
        async with file_monitor(config) as kept:
            assert str(path) not in kept.page.shown
            assert kept.registry is not None
            assert kept.files is not None
            watch = replace(config.watches[0], pointers=("/tls/*",))
            context = kept.registry.trust_context
            kept.registry.trust_context = replace(context, config=replace(config, watches=(watch,)))
            kept.files.rescan()
            await until(lambda: str(path) in kept.page.shown)
            assert [each.subject for each in kept.page.shown[str(path)].presented] == ["CN=www.example.com"]

    asyncio.run(story())

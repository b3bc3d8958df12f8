"""`certvigil guide`: what it prints on real appliances, and that its last commands say what it says they do."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from config.guide import fill, read
from config.load import load
from config.model import Config
from monitor.guide.facts import facts_of_host
from monitor.lab.ca import Authority
from monitor.lab.process import find_command, free_address
from monitor.lab.servers import LocalServer, replace_file, write_site
from tests.kit.appliance import Appliance, appliance
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.daemon import certvigil, on_a_terminal

FEDERATION: Final = Authority.root("Appliance Federation CA")


def proofs(machine: Appliance, topic: str) -> list[dict[str, Any]]:
    """Return the proofs of a topic, as the command prints them."""
    ran = certvigil("guide", topic, "--config", machine.config_file, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["left_out"] == []
    found: list[dict[str, Any]] = document["proof"]
    assert found
    return found


def check_proofs(machine: Appliance, topic: str) -> None:
    """Run the commands that prove a topic, and compare all that it says of them."""
    for proof in proofs(machine, topic):
        ran = certvigil(*proof["command"][1:])
        assert proof["exit"] in {None, ran.returncode}, (proof, ran.stdout, ran.stderr)
        for each in proof["prints"]:
            assert re.search(rf"\b{re.escape(each)}\b", ran.stdout), (proof, ran.stdout)


def commands_under(machine: Appliance, topic: str, heading: str, *, unless: str) -> Iterator[str]:
    """Yield the commands of a topic below headings that come after `heading`, without the steps of another case."""
    document = json.loads(certvigil("guide", topic, "--config", machine.config_file, "--json").stdout)
    begun = False
    for step in document["steps"]:
        begun |= step["text"] == heading
        if begun and step["language"] == "sh" and not step["text"].startswith(unless):
            yield from step["lines"]


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_the_last_commands_say_what_the_runbook_says(role: str) -> None:
    with appliance(role) as machine:
        machine.configure_by_profile()
        for topic in ("replace", "restore", "collector-root-field", "windows-root", "macos-root", "root-rotation"):
            check_proofs(machine, topic)
        check_proofs(machine, "customer-key")
        if role == "secondary":
            check_proofs(machine, "federate-first")


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_the_last_commands_see_a_replacement_that_went_wrong() -> None:
    with appliance("primary") as machine:
        machine.configure_by_profile()
        machine.servers["portal"].sites[0].install(fresh(issuing=Authority.root("Somebody")))
        machine.servers["portal"].reload()
        codes = [certvigil(*each["command"][1:]).returncode for each in proofs(machine, "replace")]
        assert 0 in codes
        assert 2 in codes


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_the_certificate_of_a_custom_port_is_proven_before_and_after() -> None:
    address = free_address()
    with appliance("secondary") as machine:
        site = write_site(f"{machine.directory}/custom", FEDERATION.issue(NAME))
        machine.configure_by_profile(collector_ports=[address[1]], address=address[0])
        with LocalServer([site], address=address) as server:
            check_proofs(machine, "collector-port-reset")
            site.install(fresh())
            server.reload()
            check_proofs(machine, "collector-port-replace")


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_the_commands_by_hand_restore_a_set_of_the_appliance(role: str) -> None:
    earlier = fresh()
    with appliance(role) as machine:
        machine.configure_by_profile()
        backups = Path(machine.directory, "root/var/nexthink/console/certificates/backup")
        backups.mkdir(parents=True)
        files = {
            "console-certificate.pem": earlier.chain_pem() + earlier.key_pem(),
            "console-intermediate.crt": earlier.chain_pem().removeprefix(earlier.pem()),
            "portal-nginx.crt": earlier.chain_pem(),
            "portal-nginx.key": earlier.key_pem(),
            "engine-certificate.pem": earlier.pem(),
            "engine-key.pem": earlier.key_pem(),
            "engine-intermediate.crt": earlier.chain_pem().removeprefix(earlier.pem()),
        }
        for name, data in files.items():
            replace_file(f"{backups}/20260101-{name}", data, 0o600)
        assert not machine.serves(earlier)
        ran = []
        heading = "By hand, from the appliance's own backups"
        for line in commands_under(machine, "restore", heading, unless="Where the set has none"):
            words = line.removeprefix("sudo ").replace("DATE", "20260101")
            subprocess.run(["bash", "-c", words], check=True, capture_output=True)
            ran.append(words)
        assert len(ran) > 5
        for server in machine.servers.values():
            server.reload()
        assert machine.serves(earlier)
        check_proofs(machine, "restore")


@pytest.mark.server("lighttpd")
def test_the_commands_by_hand_append_a_root_to_the_engine_s_bundle_once() -> None:
    with appliance("secondary") as machine:
        machine.configure_by_profile()
        bundle = Path(machine.directory, "root/var/nexthink/engine/common/etc/ca-bundle.crt")
        bundle.write_bytes(FEDERATION.pem().rstrip(b"\n"))
        (work := Path(machine.directory, "home")).mkdir()
        (work / "root.crt").write_bytes(ROOT.pem())
        document = json.loads(certvigil("guide", "engine-bundle", "--config", machine.config_file, "--json").stdout)
        lines = [line for step in document["steps"] for line in step["lines"]]
        assert lines.pop() == "sudo /usr/bin/systemctl restart nxengine@1"
        looked = next(line for line in lines if "trust list" in line)
        assert hashlib.sha256(ROOT.der()).hexdigest() not in certvigil(*shlex.split(looked)[1:]).stdout
        for line in (line for line in lines if "certvigil" not in line):
            subprocess.run(["bash", "-c", line.replace("sudo ", "")], cwd=work, check=True, capture_output=True)
        (proof,) = document["proof"]
        said = certvigil(*proof["command"][1:]).stdout
        for each in (FEDERATION, ROOT):
            assert said.count(f'"sha256": "{hashlib.sha256(each.der()).hexdigest()}"') == 1
        assert Path(f"{bundle}.before").read_bytes() == FEDERATION.pem().rstrip(b"\n")


@pytest.fixture
def config(tmp_path: Path) -> str:
    tmp_path.chmod(0o755)
    path = tmp_path / "certvigil.yaml"
    path.write_text("profile: nexthink-v6\nappliance: {role: primary, external_name: nx.example.com}\n")
    path.chmod(0o644)
    return str(path)


def test_topics_that_apply_are_listed_and_of_others_it_is_said_why_not(config: str) -> None:
    ran = certvigil("guide", "--config", config)
    assert ran.returncode == 0
    names = [line.partition("\t")[0] for line in ran.stdout.splitlines()]
    assert names[:3] == ["topic", "replace", "restore"]
    assert "federate-first" not in names
    assert "federate-first does not apply here: role is primary, expected secondary" in ran.stderr
    every = json.loads(certvigil("guide", "--config", config, "--json").stdout)["topics"]
    assert {each["topic"] for each in every if each["applies"]} == set(names[1:])
    assert all(bool(each["why_not"]) is not each["applies"] for each in every)


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("restor", "certvigil guide: there is no topic 'restor'; did you mean 'restore'?"),
        (
            "federate-first",
            "certvigil guide: 'federate-first' does not apply here: role is primary, expected secondary",
        ),
        ("re*", "certvigil guide: name one topic, not a pattern"),
    ],
)
def test_a_topic_that_cannot_be_shown_is_an_error(topic: str, said: str, config: str) -> None:
    ran = certvigil("guide", topic, "--config", config)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr.startswith(said), ran.stderr


def test_without_a_profile_there_is_no_topic_but_those_of_the_site(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "certvigil.yaml"
    path.write_text("watch: []\n")
    path.chmod(0o644)
    ran = certvigil("guide", "replace", "--config", str(path))
    assert ran.returncode == 3
    assert "there is no topic: name a 'profile' or a directory 'guides' in the configuration" in ran.stderr
    (tmp_path / "guides").mkdir(mode=0o755)
    (tmp_path / "guides/ours.yaml").write_text("title: Ours\nsteps: ['Ask the help desk on ${host}.']\n")
    (tmp_path / "guides/ours.yaml").chmod(0o644)
    path.write_text(f"host: web1.example.com\nguides: {tmp_path}/guides\n")
    ran = certvigil("guide", "ours", "--config", str(path))
    assert "1. Ask the help desk on `web1.example.com`." in ran.stdout
    (tmp_path / "guides/ours.yaml").write_text("title: Ours\n")
    ran = certvigil("guide", "ours", "--config", str(path))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "ours.yaml:1: steps: missing, expected the steps, in order" in ran.stderr


def test_a_terminal_shows_the_whole_of_each_command_and_breaks_all_other_lines(config: str) -> None:
    shown = on_a_terminal("guide", "restore", "--config", config, columns=70)
    assert shown.code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output).replace("\r", "")
    commands = [line for line in plain.splitlines() if line.startswith("       sudo cp -p")]
    assert len(commands) == 4, commands
    assert all(len(shlex.split(each)) == 5 for each in commands)
    others = [line for line in plain.splitlines() if not line.startswith("       ") and "certvigil" not in line]
    assert max(map(len, others)) <= 70
    assert "Left out here" not in plain


def test_a_terminal_gets_markdown_where_that_is_wanted(config: str) -> None:
    piped = certvigil("guide", "replace", "--config", config).stdout
    shown = on_a_terminal("guide", "replace", "--markdown", "--config", config)
    assert shown.output.replace("\r", "") == piped
    assert piped.startswith("# Replace the certificates")


def test_the_person_s_word_on_intermediates_counts(config: str) -> None:
    with_chain = certvigil("guide", "replace", "--chain", "--config", config).stdout
    without = certvigil("guide", "replace", "--no-chain", "--config", config).stdout
    assert "Tick **Use an intermediate or chain certificate**." in with_chain
    assert "Leave **Use an intermediate or chain certificate** without a tick" in without


@pytest.mark.parametrize(
    ("installed", "known"),
    [(ROOT.intermediate().issue(NAME), "yes"), (ROOT.issue(NAME), "no"), (FEDERATION.issue(NAME), None), (None, None)],
    ids=["an intermediate", "by the root itself", "by another root", "nothing"],
)
def test_installed_files_tell_whether_intermediates_are_in_use(
    installed: Any, known: str | None, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    if installed is not None:
        for name in ("console/etc/certificate.pem", "nxnginx/ssl/nginx.crt"):
            there = tmp_path / "root/var/nexthink" / name
            there.parent.mkdir(parents=True)
            there.write_bytes(installed.chain_pem())
    path = tmp_path / "certvigil.yaml"
    path.write_text(
        f"profile: nexthink-v6\n"
        f"appliance: {{role: primary, external_name: {NAME}, root: {tmp_path}/root}}\n"
        f"trust_stores: {{outsiders: {{bundle: {tmp_path}/root.pem}}}}\n"
    )
    path.chmod(0o644)
    config = load(str(path), os.environ)
    assert isinstance(config, Config)
    assert facts_of_host(config).get("chain") == known
    assert fill(read("nexthink-v6", None).topics["replace"], facts_of_host(config)).left_out == ()


@pytest.mark.server("keytool")
@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_the_commands_by_hand_bring_a_root_to_the_portal_s_keystore_with_which_it_accepts_the_engine() -> None:
    keytool = find_command("keytool")
    with appliance("single") as machine:
        machine.configure_by_profile()
        root = f"{machine.directory}/root"
        cacerts = Path(root, "usr/java/default/jre/lib/security/cacerts")
        cacerts.parent.mkdir(parents=True)
        (work := Path(machine.directory, "home")).mkdir()
        (work / "root.crt").write_bytes(ROOT.pem())
        (work / "other.crt").write_bytes(FEDERATION.pem())
        imports = [str(keytool), "-importcert", "-noprompt", "-keystore", str(cacerts)]
        given = ["-storetype", "JKS", "-alias", "other", "-file", "other.crt", "-storepass", "changeit"]
        subprocess.run([*imports, *given], cwd=work, check=True, capture_output=True)
        # The vendor's own script, of which only its arguments are known.
        script = Path(root, "var/nexthink/portal/security/import_certificate.sh")
        script.parent.mkdir(parents=True)
        script.write_text(f'exec {shlex.join(imports)} "$@"\n')
        told = certvigil("guide", "portal-keystore", "--no-chain", "--config", machine.config_file, "--json")
        document = json.loads(told.stdout)
        assert document["left_out"] == []
        (begin,) = (i for i, step in enumerate(document["steps"]) if step["text"] == "By hand")
        (end,) = (i for i, step in enumerate(document["steps"]) if step["text"].startswith("To change the password"))
        steps = [step for step in document["steps"][begin:end] if "if the alias is in use" not in step["text"]]
        lines = [line for step in steps for line in step["lines"]]
        assert [line for line in lines if "systemctl" in line] == [
            *("sudo /usr/bin/systemctl stop nxportal", "sudo /usr/bin/systemctl start nxportal")
        ]
        for line in (line for line in lines if "systemctl" not in line):
            subprocess.run(["bash", "-c", line.replace("sudo ", "")], cwd=work, check=True, capture_output=True)
        for proof in document["proof"]:
            ran = certvigil(*proof["command"][1:])
            assert proof["exit"] in {None, ran.returncode}, (proof, ran.stdout, ran.stderr)
            assert all(each in ran.stdout for each in proof["prints"]), (proof, ran.stdout)
        assert any("--ca-file" in proof["command"] for proof in document["proof"])
        assert hashlib.sha256(ROOT.der()).hexdigest() in certvigil("check", str(cacerts)).stdout

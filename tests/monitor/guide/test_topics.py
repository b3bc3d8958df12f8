"""The runbooks of the profile: each for each kind of appliance, with its own files, names and commands alone."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from markdown_it import MarkdownIt

from config.guide import Facts, Language, Run, RunKind, StepKind, Topic, Words, fill, plain, read, why_not
from config.load import load
from config.model import Config
from config.text import Printable
from monitor.guide.facts import facts_of_host
from monitor.guide.markdown import command_line, markdown
from monitor.lab.ca import Authority
from tests.kit.command_lines import refusal, why

ROLES: Final = ("primary", "secondary", "single")
TOPICS: Final = read("nexthink-v6", None).topics
ONLY: Final = {
    "federate-first": ("secondary",),
    "portal-keystore": ("primary", "single"),
    "validation-switches": ("primary", "single"),
    "engine-bundle": ("secondary", "single"),
}
"""Topics for some appliances alone."""


def applying(role: str) -> list[str]:
    return [name for name in TOPICS if role in ONLY.get(name, ROLES)]


ELSEWHERE: Final = frozenset(
    {"/root/windows-root", "/root/macos-root", "/etc/certvigil/corporate-root.pem", "/dev/null", "/force"}
)
"""Paths that are no appliance's."""
_PATH: Final = re.compile(r"(?<![\w:/.=<-])/[\w.][\w./@-]*")

Configured = Callable[..., Config]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Return the configuration of an appliance with a root of its own, all of whose paths are in one directory."""
    tmp_path.chmod(0o755)
    (tmp_path / "root.pem").write_bytes(Authority.root("Corporate Root").pem())

    def configured(
        role: str, *, public: bool = False, root: str = "/srv/lab", more: str = "", engines: str = ""
    ) -> Config:
        stores = "" if public else f"trust_stores: {{outsiders: {{bundle: {tmp_path}/root.pem}}}}"
        internal = "" if role == "primary" else "internal_name: nx.corp.local,"
        internal += f" engines: {engines}," if engines else ""
        path = tmp_path / "certvigil.yaml"
        path.write_text(
            f"profile: nexthink-v6\n"
            f"appliance: {{role: {role}, external_name: nx.example.com, {internal} collector_ports: [8443, 8444], "
            f"root: {json.dumps(root)}}}\n{stores}\n{more}"
        )
        path.chmod(0o644)
        config = load(str(path), {})
        assert isinstance(config, Config), config
        return config

    return configured


def rendered(name: str, facts: Facts) -> Topic:
    return fill(TOPICS[name], facts)


def pieces(topic: Topic) -> Iterator[Run]:
    for text in (topic.title, *topic.about, *(each.text for each in topic.steps)):
        yield from text
    for proof in topic.proofs:
        yield from proof.means
    for language, line in lines(topic):
        yield Run(RunKind.CODE, line)
        assert language


def lines(topic: Topic) -> Iterator[tuple[Language, Printable]]:
    for step in topic.steps:
        yield from ((step.language, line) for line in step.lines)
    yield from ((Language.SHELL, command_line(each)) for each in topic.proofs)


def paths_in(config: Config, facts: Facts) -> set[str]:
    """Return every path that the configuration has."""
    known = {file.path for file in config.files}
    known |= {value for value in facts.values() if isinstance(value, str) and value.startswith("/")}
    for value in facts.values():
        known |= {word for word in value if word.startswith("/")} if isinstance(value, Words) else set()
    return known | {f"{config.settings.actor.inbox_directory}/{name}" for name in config.subjects}


@pytest.mark.parametrize("public", [False, True], ids=["own CA", "public CA"])
@pytest.mark.parametrize("role", ROLES)
def test_each_path_in_a_runbook_is_one_of_the_configuration(role: str, public: bool, configured: Configured) -> None:
    config = configured(role, public=public)
    for name, chain in product(applying(role), (True, False, None)):
        facts = facts_of_host(config, chain=chain)
        assert why_not(TOPICS[name], facts) is None
        topic = rendered(name, facts)
        assert topic.left_out == ()
        known = paths_in(config, facts) | ELSEWHERE
        for piece in pieces(topic):
            for path in _PATH.findall(piece.text) if piece.kind is RunKind.CODE else ():
                bare = path.removesuffix(".before").rstrip(".")
                assert bare in known, (name, bare, piece.text)
        assert "/var/nexthink" not in markdown(topic).replace("/srv/lab/var/nexthink", ""), name


@pytest.mark.parametrize("role", ROLES)
def test_a_runbook_has_no_step_of_another_kind_of_appliance(role: str, configured: Configured) -> None:
    facts = facts_of_host(configured(role))
    others = {
        "primary": ("slave.", "nxengine", "engine/common", "for Engine, Collector", "federated with its primary"),
        "secondary": ("master.", "nxnginx", "restart nginx", "cacerts", "portal.conf", "for Portal, Collector"),
        "single": ("federated with its primary",),
    }[role]
    for name in applying(role):
        text = markdown(rendered(name, facts))
        assert [each for each in others if each in text] == [], name


@pytest.mark.parametrize("chain", [True, False])
@pytest.mark.parametrize("name", ["replace", "collector-port-replace", "portal-keystore"])
def test_steps_about_intermediates_are_there_where_there_are_any(
    name: str, chain: bool, configured: Configured
) -> None:
    text = markdown(rendered(name, facts_of_host(configured("single"), chain=chain)))
    assert ("intermediate.crt" in text.partition("## Instead")[0]) is chain


@pytest.mark.parametrize("role", ROLES)
def test_a_set_to_restore_has_a_chain_or_none_whatever_is_installed_now(role: str, configured: Configured) -> None:
    config = configured(role, engines="" if role == "primary" else "two")
    facts = [facts_of_host(config, chain=chain) for chain in (True, False, None)]
    with_chain, without, unknown = (rendered("restore", each) for each in facts)
    assert with_chain.steps == without.steps == unknown.steps
    said = [(plain(each.text), " ".join(each.lines)) for each in unknown.steps]
    for name in ("console",) if role == "primary" else ("console", "engine"):
        chain = str(facts[0][f"{name}.chain"])
        lines = [str(facts[0][each]) for each in (f"{name}.line", f"{name}.line-2") if each in facts[0]]
        for case, act in (("an intermediate", "cp"), ("none", "rm")):
            of_case = [each for each in said if each[0].startswith(f"Where the set has {case}")]
            assert any(f"sudo {act} " in line and chain in line for _, line in of_case), case
            assert all(any(path in text for text, _ in of_case) for path in lines), case


@pytest.mark.parametrize("role", ROLES)
def test_each_unit_in_a_runbook_is_one_of_the_appliance(role: str, configured: Configured) -> None:
    config = configured(role)
    own = {each.service.unit for each in config.components.values() if each.service}
    found = {}
    for name in applying(role):
        text = markdown(rendered(name, facts_of_host(config)))
        found[name] = set(re.findall(r"systemctl (?:stop|start|restart) (\S+)", text))
        assert found[name] <= own | {"nxportal"}, name
    assert found["restore"] == own


@pytest.mark.parametrize("role", ROLES)
def test_each_command_in_a_runbook_is_one_that_its_program_takes(role: str, configured: Configured) -> None:
    facts = facts_of_host(configured(role), config_path="/srv/it's/certvigil.yaml")
    shell: dict[Printable, None] = {}
    for name in applying(role):
        topic = rendered(name, facts)
        named = [piece.text for piece in pieces(topic) if piece.kind is RunKind.CODE]
        for words in (shlex.split(each) for each in named if each.startswith("certvigil ")):
            refused = refusal(words[1:])
            # A sentence may name a command without its arguments.
            assert type(refused).__name__ in {"NoneType", "MissingParameter"}, (name, words, why(refused))
            assert words[1] != "guide" or words[2] in TOPICS, (name, words)
        for line in (line for language, line in lines(topic) if language is Language.SHELL):
            assert not line.startswith("certvigil ") or refusal(shlex.split(line)[1:]) is None, (name, line)
            shell[line] = None
    for each in shell:
        subprocess.run(["bash", "-n", "-c", each], check=True)
    assert len(shell) > 20


@pytest.mark.parametrize("role", ROLES)
def test_each_command_with_a_configuration_names_it_where_it_is_not_the_default_one(
    role: str, configured: Configured
) -> None:
    place = "/srv/other/certvigil.yaml"
    config = configured(role)
    for path in (place, ""):
        facts = facts_of_host(config, config_path=path)
        for name in applying(role):
            for piece in pieces(rendered(name, facts)):
                if piece.kind is RunKind.CODE and piece.text.startswith("certvigil "):
                    assert piece.text == piece.text.strip()
                    assert (place in piece.text) is (bool(path) and shlex.split(piece.text)[1] != "check"), piece.text


def test_services_and_passwords_of_stores_are_those_of_the_site(configured: Configured) -> None:
    stores = (
        "trust_stores: {portal-cacerts: {bundle: /srv/lab/cacerts, mode: approve, password_file: /srv/lab/word, "
        "service: {restart: [/srv/lab/portal, again], stop: [/srv/lab/portal, halt], start: [/srv/lab/portal, go]}}}"
    )
    facts = facts_of_host(configured("single", public=True, more=stores))
    said = [(plain(each.text), line) for each in rendered("portal-keystore", facts).steps for line in each.lines]
    commands: list[str] = [line for _, line in said]
    assert not [each for each in commands if "systemctl" in each or "changeit" in each]
    stopped, started = (commands.index(f"sudo /srv/lab/portal {each}") for each in ("halt", "go"))
    (deleted,) = (at for at, each in enumerate(commands) if " -delete " in each)
    assert stopped < deleted < started
    assert "-storepass:file /srv/lab/word" in commands[deleted]
    assert "sudo /srv/lab/portal again" in markdown(rendered("validation-switches", facts))
    assert "certvigil trust enforce portal\n" in markdown(rendered("validation-switches", facts))


@pytest.mark.parametrize("name", ["engine-bundle", "root-rotation"])
def test_the_last_line_of_a_bundle_is_ended_before_a_root_is_appended(name: str, configured: Configured) -> None:
    appended = [line for _, line in lines(rendered(name, facts_of_host(configured("single")))) if "tee -a" in line]
    assert [each.partition(" | ")[0] for each in appended] == ["echo", "cat root.crt"]


@pytest.mark.parametrize("role", ROLES)
def test_paths_that_a_shell_would_read_otherwise_are_one_word(role: str, configured: Configured) -> None:
    hostile = '/srv/it\'s; touch pwned & "$(touch pwned)"'
    facts = facts_of_host(configured(role, root=hostile))
    for name in applying(role):
        topic = rendered(name, facts)
        for language, line in lines(topic):
            if language is Language.SHELL:
                # Each word with a part of the directory has the whole of it.
                assert all(hostile in each for each in shlex.split(line) if "pwned" in each), (name, line)
        tokens = [each for token in MarkdownIt().parse(markdown(topic)) for each in (token.children or ())]
        for each in tokens:
            assert each.type == "code_inline" or "pwned" not in each.content, (name, each.content)
            assert "pwned" not in each.content or hostile in each.content, (name, each.content)


@pytest.mark.parametrize("role", ROLES)
def test_a_runbook_ends_with_a_command_that_proves_the_result(role: str, configured: Configured) -> None:
    facts = facts_of_host(configured(role))
    for name in applying(role):
        topic = rendered(name, facts)
        assert topic.proofs, name
        for proof in topic.proofs:
            assert proof.command[:2] in {("certvigil", "check"), ("certvigil", "config")}, name
            assert proof.exit is not None or proof.prints, name
            assert plain(proof.means), name


def test_topics_of_another_appliance_say_why_they_do_not_apply(configured: Configured) -> None:
    for name, roles in ONLY.items():
        for role in set(ROLES) - set(roles):
            said = f"role is {role}, expected {' or '.join(roles)}"
            assert why_not(TOPICS[name], facts_of_host(configured(role))) == said


def test_a_second_engine_has_its_own_line_and_its_own_restart(configured: Configured) -> None:
    config = configured("secondary", engines="two")
    text = markdown(rendered("restore", facts_of_host(config, chain=True)))
    assert "`/srv/lab/var/nexthink/engine/02/etc/nxengine.xml`" in text
    assert "sudo /usr/bin/systemctl restart nxengine@1 nxengine@2" in text


def test_without_a_custom_port_nothing_is_said_about_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "certvigil.yaml"
    path.write_text("profile: nexthink-v6\nappliance: {role: primary, external_name: nx.example.com}")
    path.chmod(0o644)
    config = load(str(path), {})
    assert isinstance(config, Config)
    facts = facts_of_host(config)
    assert why_not(TOPICS["collector-port-reset"], facts) == "collector_ports is not known"
    assert "custom" not in markdown(rendered("replace", facts))


def test_a_service_that_the_site_takes_away_leaves_its_restart_out_and_says_so(configured: Configured) -> None:
    config = configured("primary", more="components: {portal: {service: null}, console: {service: null}}")
    topic = rendered("restore", facts_of_host(config))
    assert topic.left_out == ("console.restart", "portal.restart")
    assert "Left out here, since they are not known: `console.restart`, `portal.restart`." in markdown(topic)


def test_the_buttons_and_fields_are_those_of_the_vendor(configured: Configured) -> None:
    found = {
        piece.text
        for role in ROLES
        for name in applying(role)
        for piece in pieces(rendered(name, facts_of_host(configured(role), chain=True)))
        if piece.kind is RunKind.NAME
    }
    assert found >= {
        *("APPLIANCE", "Certificates", "REPLACE CERTIFICATES", "REPLACE CERTIFICATE", "CHOOSE FILE", "Certificate"),
        *("Private key", "Use an intermediate or chain certificate", "RESET TO DEFAULT CERTIFICATE", "Always trust"),
        "Replace certificates for Portal, Collector communication (port 443) and Web Console",
        "Replace certificates for Engine, Collector communication (port 443) and Web Console",
        "Replace the certificate for the Collector communication on custom TCP port",
        "Certificates used for the Collector custom TCP port",
    }


def test_federate_first_is_asked_of_a_secondary_appliance_alone(configured: Configured) -> None:
    asked = {
        role: [
            plain(step.text)
            for step in rendered("replace", facts_of_host(configured(role))).steps
            if step.kind is StepKind.ASK
        ]
        for role in ROLES
    }
    assert asked["primary"] == asked["single"] == []
    assert len(asked["secondary"]) == 1
    assert "federate-first" in asked["secondary"][0]

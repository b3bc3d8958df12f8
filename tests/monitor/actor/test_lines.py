"""A chain and the configuration lines that name it change as one, on real servers that send what is configured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor import limit
from monitor.actor.request import Request, Verb
from monitor.lab.ca import Authority, Issued
from monitor.lab.servers import replace_file
from tests.kit.actor import ALONE
from tests.kit.appliance import MEMBERS
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.lined_appliance import LinedAppliance, lined_appliance
from tests.kit.openssl_client import presented

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]
REPLACE = ActionRequest(Kind.REPLACE, MEMBERS["primary"])


@pytest.fixture
def primary() -> Iterator[LinedAppliance]:
    with lined_appliance("primary") as made:
        yield made


def sent(machine: LinedAppliance) -> dict[str, list[bytes]]:
    """Return the chain that each component sends, the root aside."""
    chains = {name: presented(server) for name, server in machine.servers.items()}
    return {name: [der for der in chain if der != ROOT.der()] for name, chain in chains.items()}


def by_all(machine: LinedAppliance, *chain: Issued | Authority) -> dict[str, list[bytes]]:
    """Return what `sent` would where every component sends this chain."""
    return {name: [each.der() for each in chain] for name in machine.servers}


def given(machine: LinedAppliance, issued: Issued, command: str = "replace") -> str:
    code, said = machine.command(command, machine.role, "--from", machine.given(issued))
    assert code == 0, said
    return said


@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_a_first_chain_is_sent_and_the_last_one_taken_out_again(role: str) -> None:
    with lined_appliance(role) as machine:
        before = machine.on_disk()
        with_chain = fresh()
        given(machine, with_chain)
        assert sent(machine) == by_all(machine, with_chain, ISSUING)
        for name in (each for each in machine.servers if each != "portal"):
            assert Path(machine.chain(name)).read_bytes() == ISSUING.pem()
            assert all(machine.lines(name))
            assert os.stat(machine.chain(name)).st_mode & 0o777 == 0o644
        without = ROOT.issue(NAME)
        given(machine, without)
        assert sent(machine) == by_all(machine, without)
        configurations = [path for name in machine.servers if name != "portal" for path in machine.configurations(name)]
        now = machine.on_disk()
        assert now.keys() == before.keys()
        assert {path: now[path] for path in configurations if path.endswith("xml")} == {
            path: before[path] for path in configurations if path.endswith("xml")
        }
        if role != "secondary":
            console = machine.configurations("console")[0]
            assert now[console] == before[console]


def test_a_renewal_with_the_same_chain_leaves_the_lines_as_they_are(primary: LinedAppliance) -> None:
    given(primary, fresh())
    (configuration,) = primary.configurations("console")
    before = Path(configuration).read_bytes()
    given(primary, fresh())
    assert Path(configuration).read_bytes() == before
    changes = {each[1]: each for each in primary.last("begin")["plan"]["changes"]}
    assert changes[configuration][2] == changes[configuration][3]


def test_what_was_before_the_first_chain_is_rolled_back_and_reset_to(primary: LinedAppliance) -> None:
    before = primary.on_disk()
    first, second = fresh(), fresh()
    given(primary, first)
    after_first = primary.on_disk()
    given(primary, second)
    for command, expected, served in (
        ("rollback", after_first, (first, ISSUING)),
        ("reset-to-default", before, (primary.old,)),
    ):
        code, said = primary.command(command, "primary")
        assert code == 0, said
        assert primary.on_disk() == expected
        assert sent(primary) == by_all(primary, *served)
    code, said = primary.command("rollback", "primary")
    assert code == 0, said
    assert sent(primary) == by_all(primary, first, ISSUING)


def test_a_chain_that_is_not_there_is_listed_nowhere(primary: LinedAppliance) -> None:
    def inventory() -> dict[str, list[str]]:
        more = ("--json", "--socket", f"{primary.directory}/none")
        components = json.loads(primary.command("inventory", *more)[1].partition("\nno daemon")[0])["components"]
        return {each["component"]: [file["path"] for file in each["files"]] for each in components}

    def backups() -> list[list[str]]:
        sets = json.loads(primary.command("backups", "console", "--json")[1])["sets"]
        return [each["files"] for each in sets]

    chain, combined = primary.chain("console"), primary.artefacts("console")["combined"]
    assert chain not in inventory()["console"]
    assert inventory()["console"][0] == combined
    given(primary, fresh())
    assert chain not in backups()[0]
    assert combined in backups()[0]
    assert inventory()["console"][0] == combined
    assert chain in inventory()["console"]


def test_what_never_had_a_chain_is_rolled_back_and_reset_to(primary: LinedAppliance) -> None:
    """A set of it was refused, since it holds no chain."""
    given(primary, ROOT.issue(NAME))
    for command in ("rollback", "reset-to-default"):
        given(primary, ROOT.issue(NAME))
        code, said = primary.command(command, "primary")
        assert code == 0, said
    assert sent(primary) == by_all(primary, primary.old)
    assert primary.lines("console") == [False]


def test_a_rollback_keeps_what_somebody_else_has_edited_in_the_meantime(primary: LinedAppliance) -> None:
    given(primary, fresh())
    (configuration,) = primary.configurations("console")
    edited = Path(configuration).read_bytes() + b"# added by a person\n"
    replace_file(configuration, edited)
    code, said = primary.command("rollback", "primary")
    assert code == 0, said
    now = Path(configuration).read_bytes()
    assert now.endswith(b"# added by a person\n")
    assert b"ssl.ca-file" not in now
    assert sent(primary) == by_all(primary, primary.old)


@pytest.mark.parametrize(
    ("line", "why", "cure"),
    [
        (
            'ssl.ca-file = "/etc/other.crt"\n',
            "it sets ssl.ca-file to /etc/other.crt already",
            'change it to ssl.ca-file = "{chain}" beside ssl.pemfile',
        ),
        (
            'ssl.ca-file += "/etc/other.crt"\n',
            "in it ssl.ca-file is added to with +=",
            'write it as one line: ssl.ca-file = "{chain}" beside ssl.pemfile',
        ),
        ("}\n", "its line", "is not understood; correct this line"),
    ],
)
def test_a_file_that_cannot_be_edited_is_refused_with_what_to_do_first(
    line: str, why: str, cure: str, primary: LinedAppliance
) -> None:
    (configuration,) = primary.configurations("console")
    replace_file(configuration, Path(configuration).read_bytes() + line.encode())
    before = primary.on_disk()
    code, said = primary.command("replace", "primary", "--from", primary.given(fresh()))
    assert code == 1
    text = " ".join(said.split())
    assert f"line_not_edited: console: {configuration} is not edited: {why}" in text
    assert f"{cure.format(chain=primary.chain('console'))}, and plan again" in text
    assert primary.on_disk() == before


def test_a_setting_in_an_included_file_is_named(primary: LinedAppliance) -> None:
    (configuration,) = primary.configurations("console")
    os.mkdir(f"{primary.directory}/conf.d")
    replace_file(f"{primary.directory}/conf.d/ssl.conf", b'ssl.ca-file = "/etc/other.crt"\n')
    include = f'include "{primary.directory}/conf.d/*.conf"\n'.encode()
    replace_file(configuration, Path(configuration).read_bytes() + include)
    code, said = primary.command("replace", "primary", "--from", primary.given(fresh()))
    assert code == 1
    text = " ".join(said.split())
    assert f"ssl.ca-file is set in {primary.directory}/conf.d/ssl.conf, which it includes" in text
    os.remove(f"{primary.directory}/conf.d/ssl.conf")
    given(primary, fresh())
    assert primary.lines("console") == [True]


def test_a_configuration_that_is_changed_after_the_plan_is_left_alone(primary: LinedAppliance) -> None:
    primary.put(fresh())
    plan = primary.ask(REPLACE, verb=Verb.PLAN)["plan"]["hash"]
    (configuration,) = primary.configurations("console")
    replace_file(configuration, Path(configuration).read_bytes() + b"# the console was here\n")
    before = primary.on_disk()
    assert primary.ask(REPLACE, verb=Verb.PLAN)["plan"]["hash"] != plan
    assert primary.on_disk() == before


@pytest.mark.parametrize("member", ["console", "portal"])
def test_a_member_that_fails_undoes_chain_and_line_as_well(member: str, primary: LinedAppliance) -> None:
    nothing = {"restart": ["/bin/true"]} | ({"reload": ["/bin/true"]} if member == "portal" else {})
    primary.configure({member: primary.service(member, **nothing)})
    before = primary.on_disk()
    primary.put(fresh())
    answer = primary.ask(REPLACE)
    assert [(each["outcome"], each["cause"]) for each in answer["endings"]] == [("rolled_back", "not_served")], answer
    assert primary.on_disk() == before
    assert sent(primary) == by_all(primary, primary.old)


def test_the_actor_s_reader_says_of_each_configuration_file_whether_it_names_the_chain() -> None:
    with lined_appliance("secondary") as machine:
        engine = ActionRequest(Kind.REPLACE, MEMBERS["secondary"])
        with machine.actor() as actor:
            for expected in ("absent", "present"):
                answer = actor.ask(Request(Verb.READ, components=("engine",)))
                lines = {each["name"]: each["line"] for each in answer["facts"]["files"] if "line" in each["name"]}
                assert lines == {f"engine/{each}": [expected, "", False, "", False] for each in ("line", "line-2")}
                if expected == "absent":
                    machine.put(fresh())
                    done = actor.ask(Request(Verb.CARRY_OUT, engine))
                    assert [each["outcome"] for each in done["endings"]] == ["committed"], done


def test_what_must_be_done_before_the_first_replacement_is_said_until_there_was_one(primary: LinedAppliance) -> None:
    primary.configure({"console": {"do_first": "federate the appliance"}})
    said = "console: before its first replacement, federate the appliance"
    assert said in " ".join(given(primary, fresh()).split())
    assert said not in " ".join(given(primary, fresh()).split())


def test_a_plan_of_the_daemon_that_takes_too_long_gives_the_turn_back(
    primary: LinedAppliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary.put(fresh())
    monkeypatch.setattr(limit, "LONGEST", -1.0)
    said = primary.ask(REPLACE, ALONE, Verb.PROPOSE)
    assert "the plan takes longer than" in str(said), said
    assert "an operator may ask" in str(said)
    assert primary.ask(REPLACE, verb=Verb.PLAN)["plan"], "a person may wait"

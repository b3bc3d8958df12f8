"""Whatever is done to an appliance in whatever order, and wherever it is killed: one whole set, told truthfully.

A model of the appliance has the sets and the trust that it may have now. What is on disk must be one of them, the
servers must present it, the inventory must say so, and nothing that is not declared may be another than it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from actions.candidate import Given
from actions.csr import CsrOrder
from actions.journal import Journal
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.trust_change import AddAnchors, Deed, RemoveAnchor
from actions.world import World
from config.load import load
from config.model import Config
from config.text import Printable
from monitor.actor.context import actor_context, journal_path
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle
from monitor.actor.request import Document, Request, Verb
from monitor.actor.trust import StoreRequest, change_store
from monitor.actor.work import Work
from monitor.inventory import inventory
from monitor.lab.ca import Authority, Issued, self_signed
from monitor.lab.process import wait_for
from monitor.lab.servers import replace_file
from monitor.state.look_once import look_once
from monitor.state.trust import read_trust_context
from probes.certificate import certificate
from probes.store_content import read_store
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.java_keystore import CHANGEIT, trust_store
from tests.kit.lined_appliance import LinedAppliance, lined_appliance
from tests.kit.openssl_client import presented
from tests.kit.requests import answer_of, signed
from tests.kit.worlds import KILLED, Fault, Step, StepWorld, in_a_process

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]
ROOTS: Final = (Authority.root("First New Root"), Authority.root("Second New Root"))
_OLD: Final = re.compile(r"\..+\.\d{8}t\d{6}-[0-9a-f]{8}\.old")
"""What certvigil keeps of a replaced file, for as long as its backup set."""
_KEY: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----\n", re.DOTALL)
Act = Callable[[World], Document]


def killed_at(number: int) -> Fault:
    """Return the fault that ends this process after so many steps that change something."""
    left = number

    def fault(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        nonlocal left
        done = act()
        if step.changes:
            left -= 1
            if left <= 0:
                os._exit(KILLED)
        return done

    return fault


class Sequences(RuleBasedStateMachine):
    """One appliance, and everything that a person may do to it."""

    role = "primary"

    def __init__(self) -> None:
        super().__init__()
        self.running = ExitStack()
        self.machine: LinedAppliance = self.running.enter_context(lined_appliance(self.role))
        self._lay_out()
        self.sets = {self.machine.old.der()}
        """The certificates of all components that may be on disk now."""
        self.known = set(self.sets)
        self.trust = {self.trusted()}
        """The roots that the store may have now."""
        self.waiting: dict[str, str] = {}
        """The requests that wait for an answer, by key."""
        self.untouched = self.undeclared()
        self.is_whole()

    def teardown(self) -> None:
        with self.running:
            self.done(self.act(Request(Verb.RECOVER)))
            self.is_so_to_the_daemon()

    # What is done

    @rule(with_chain=st.booleans())
    def put_a_certificate(self, with_chain: bool) -> None:
        issued = fresh() if with_chain else ROOT.issue(NAME)
        answer = self.act(self.replacement(), self.handed(issued))(World())
        assert [each["outcome"] for each in answer["endings"]][-1:] == ["committed"], answer
        self.known.add(issued.der())
        self.sets = {issued.der()}
        self.is_whole()

    @rule()
    def put_what_nobody_accepts(self) -> None:
        answer = self.done(self.act(self.replacement(), self.handed(self_signed(NAME))))
        assert "no_client_accepts" in {each["ground"] for each in answer["refused"]["objections"]}, answer

    @rule()
    def roll_back(self) -> None:
        was_whole, before = self.whole, self.sets
        self.sets = set(self.known)
        answer = self.done(self.act(self.rollback("")))
        if was_whole and [each["outcome"] for each in answer.get("endings", ())] == ["committed"]:
            assert self.sets.isdisjoint(before), answer

    @rule()
    def reset(self) -> None:
        # Where nothing was changed yet, this is the set that is there.
        self.sets = {self.machine.old.der()}
        self.done(self.act(self.rollback("default")))

    @rule(which=st.integers(0, 1))
    def trust_a_root(self, which: int) -> None:
        der = ROOTS[which].der()
        self.trust = {each | {der} for each in self.trust}
        self.done(self.trusting(AddAnchors((certificate(der),))))

    @rule(which=st.integers(0, 1))
    def trust_a_root_no_longer(self, which: int) -> None:
        der = ROOTS[which].der()
        self.trust = {each - {der} for each in self.trust}
        self.done(self.trusting(RemoveAnchor(hashlib.sha256(der).hexdigest())))

    @precondition(lambda self: len(self.waiting) < 4)
    @rule()
    def make_a_request(self) -> None:
        made = self.done(self.act(self.request()))["csr"]
        self.waiting[made["key"]] = made["pem"]
        self.is_whole()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def answer_a_request(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.waiting)))
        issued = signed(self.waiting[key])
        given = CandidateFiles((Given(Printable("answer"), answer_of(issued, ISSUING)),))
        answer = self.act(self.replacement(), given)(World())
        assert [each["outcome"] for each in answer["endings"]][-1:] == ["committed"], answer
        del self.waiting[key]
        self.known.add(issued.der())
        self.sets = {issued.der()}
        self.is_whole()

    # A replacement is backed up by its 100th step or so, switched by the 150th, and over by the 250th.
    @rule(what=st.sampled_from(["replace", "rollback", "reset", "trust", "request"]), number=st.integers(1, 250))
    def be_killed(self, what: str, number: int) -> None:
        issued = fresh()
        acts = {
            "replace": self.act(self.replacement(), self.handed(issued)),
            "rollback": self.act(self.rollback("")),
            "reset": self.act(self.rollback("default")),
            "trust": self.trusting(AddAnchors((certificate(ROOTS[0].der()),))),
            "request": self.act(self.request()),
        }
        self.whole = False
        status = in_a_process(lambda: acts[what](StepWorld(killed_at(number))))
        assert status in {0, KILLED}, f"{what} ended with {status}"
        match what:
            case "replace":
                self.known.add(issued.der())
                self.sets.add(issued.der())
            case "rollback" | "reset":
                self.sets |= self.known
            case "trust":
                self.trust |= {each | {ROOTS[0].der()} for each in self.trust}

    @rule()
    def recover(self) -> None:
        self.done(self.act(Request(Verb.RECOVER)))
        again = self.act(Request(Verb.RECOVER))(World())
        assert not again.get("endings"), again

    # How it is done

    def act(self, request: Request, files: CandidateFiles | None = None) -> Act:
        return lambda world: self.working(world, lambda work: handle(replace(work, files=files), request))

    def trusting(self, deed: Deed) -> Act:
        return lambda world: self.working(world, lambda work: change_store(work, StoreRequest("portal-cacerts", deed)))

    def working(self, world: World, deed: Callable[[Work], Document]) -> Document:
        with actor_context(read_trust_context(self.config())[0]) as context:
            journal = Journal(world, journal_path(context.config), context.config.host)
            with closing(journal):
                transaction = replace(context.transaction, world=world, journal=journal)
                return deed(Work(replace(context, world=world, transaction=transaction), "somebody"))

    def done(self, act: Act) -> Document:
        answer = act(World())
        self.is_whole()
        return answer

    def replacement(self) -> Request:
        return Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, self.members))

    def rollback(self, to: str) -> Request:
        return Request(Verb.CARRY_OUT, ActionRequest(Kind.ROLLBACK, self.members, to))

    def request(self) -> Request:
        return Request(Verb.CSR, components=self.members, csr=CsrOrder())

    def handed(self, issued: Issued) -> CandidateFiles:
        return CandidateFiles((Given(Printable("new"), self.machine.pem(issued)),))

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.machine.servers)

    def config(self) -> Config:
        config = load(self.machine.config_file, {})
        assert isinstance(config, Config), config
        return config

    def _lay_out(self) -> None:
        machine = self.machine
        self.store = f"{machine.directory}/jre/cacerts"
        os.makedirs(os.path.dirname(self.store))
        replace_file(self.store, trust_store((ROOT,), ("corporate",)))
        os.makedirs(f"{machine.directory}/other")
        replace_file(f"{machine.directory}/other/customer.key", os.urandom(64), 0o600)
        for name in machine.servers:
            replace_file(f"{machine.directory}/{name}/customer.key", os.urandom(64), 0o600)
            replace_file(f"{machine.directory}/{name}/.hidden", os.urandom(16), 0o640)
        stores = {
            "corporate": {"bundle": f"{machine.directory}/root.pem"},
            "portal-cacerts": {"bundle": self.store, "mode": "approve"},
        }
        replace_file(f"{machine.directory}/password", CHANGEIT, 0o600)
        machine.configure(trust_stores=stores)

    # What must be so, whatever was done

    def is_whole(self) -> None:
        """Check everything, and take what is there for what the model says from now on."""
        leaves = self.leaves()
        assert len(leaves) == 1, "the components have different certificates"
        assert leaves <= self.sets, "that certificate is neither the old nor the new one"
        assert self.trusted() in self.trust, "those roots are neither the old nor the new ones"
        self.sets, self.trust, self.whole = leaves, {self.trusted()}, True
        assert self.undeclared() == self.untouched
        for name in self.members:
            if name != "portal":
                has_chain = os.path.exists(self.machine.chain(name))
                assert set(self.machine.lines(name)) == {has_chain}, f"chain and lines of {name} are of two sets"
        wait_for(lambda: self.served() == leaves, 20.0, "that what is on disk is served")
        self.is_told_truthfully()

    def is_told_truthfully(self) -> None:
        (leaf,) = self.sets
        context, now = read_trust_context(self.config())[0], time.time()
        found = inventory(context, asyncio.run(look_once(context, now, 5.0)), now)
        sha = hashlib.sha256(leaf).hexdigest()
        for each in found["components"]:
            assert each["certificate"]["sha256"] == sha, each
            assert [served["as_installed"] for served in each["served"]] == [True], each
            assert [client["accepts"] for served in each["served"] for client in served["clients"]] == [True], each
        with actor_context(context) as acting:
            assert not acting.journal_state().frozen
        listed = self.act(Request(Verb.REQUESTS))(World())["requests"]
        # A request whose command was killed may wait, though nobody was told of it.
        assert self.waiting.keys() <= {each["key"] for each in listed}

    def is_so_to_the_daemon(self) -> None:
        """Check that `status` and `inventory` say of a daemon that has just begun what is there."""
        (leaf,) = self.sets
        sha = hashlib.sha256(leaf).hexdigest()
        document = json.loads(Path(self.machine.config_file).read_text())
        with RunningDaemon(document) as daemon:
            code, status = self.asked(daemon, "status")
            targets = [each for each in status["targets"] if each["component"] is not None]
            with_leaf = [each for each in targets if each["presented"] and not each["target"].endswith("/chain")]
            assert {each["presented"][0] for each in with_leaf} == {sha}
            assert {each["kind"] for each in with_leaf} == {"file", "endpoint"}
            assert [each["findings"] for each in targets if each["verdict"] != "ok"] == []
            assert code == 0
            _, told = self.asked(daemon, "inventory")
            assert {each["certificate"]["sha256"] for each in told["components"]} == {sha}

    @staticmethod
    def asked(daemon: RunningDaemon, command: str) -> tuple[int, dict[str, Any]]:
        ran = certvigil(command, "--json", "--socket", daemon.socket)
        return ran.returncode, json.loads(ran.stdout)

    def leaves(self) -> set[bytes]:
        """Return the certificates that the files of the components have; an error where a key is of another."""
        found = set()
        for name in self.members:
            files = self.machine.artefacts(name)
            text = Path(files.get("combined", files.get("certificate", ""))).read_bytes()
            key = Path(files.get("combined", files.get("key", ""))).read_bytes()
            leaf = certificate(_first_der(text))
            assert leaf.x509().public_key() == _public(key), f"the key of {name} is of another certificate"
            found.add(leaf.der)
        return found

    def served(self) -> set[bytes]:
        return {presented(server)[0] for server in self.machine.servers.values()}

    def trusted(self) -> frozenset[bytes]:
        content = read_store(Path(self.store).read_bytes(), (CHANGEIT,))
        assert not content.faults
        return frozenset(content.anchors) & {each.der() for each in ROOTS}

    def undeclared(self) -> dict[str, str]:
        """Return the hash of every file that no component and no trust store has."""
        machine = self.machine
        declared = {path for name in self.members for path in machine.artefacts(name).values()} | {self.store}
        declared |= {path for name in self.members if name != "portal" for path in machine.configurations(name)}
        own = {f"{machine.directory}/{each}" for each in ("actor", "state", "inbox")}
        own |= {server.directory for server in machine.servers.values()}
        found: dict[str, str] = {}
        for directory, below, names in os.walk(machine.directory):
            below[:] = [each for each in below if os.path.join(directory, each) not in own]
            for path in (os.path.join(directory, each) for each in names if not _OLD.fullmatch(each)):
                if path not in declared:
                    found[path] = f"{os.stat(path).st_mode:o} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
        return found


def _first_der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)


def _public(pem: bytes) -> object:
    """Return the public half of the first private key in there."""
    found = _KEY.search(pem)
    assert found is not None
    return load_pem_private_key(found[0], None).public_key()


class OnASingleAppliance(Sequences):
    """The same, with an engine, two configuration files of which name its chain."""

    role = "single"


def run(machine: type[Sequences], examples: int, steps: int) -> None:
    # The same sequences in each run; what fails is not made smaller, which would take as long again many times.
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=how)


def test_any_sequence_leaves_an_appliance_whole_and_told_truthfully() -> None:
    run(Sequences, 1, 10)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Sequences, OnASingleAppliance])
def test_any_long_sequence_leaves_an_appliance_whole_and_told_truthfully(machine: type[Sequences]) -> None:
    run(machine, 6, 20)

"""A round is played: a replacement begins, and what was drawn happens to it; then it is recovered from."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from monitor.lab.ca import Issued
from monitor.lab.process import wait_for
from monitor.lab.servers import replace_file
from tests.bench.unsafe.draw import DrawnMoment, Foreign, Round, Victim, WritingManner
from tests.bench.unsafe.house import PATIENCE, ArtefactShape, UnsafeComponent, UnsafeHouse, gone, kill, leaf_of, until
from tests.kit import foreign_writer as foreign
from tests.kit.forks import Child

_POLL: Final = 0.002
_GARBAGE: Final = b"-----BEGIN CERTIFICATE-----\nnothing of the kind\n" * 40


@dataclass
class UnsafeStory:
    """What happened in a round."""

    old: str
    new: str
    """SHA-256 of the certificates."""
    before: int
    """Records of the journal before it."""
    log: list[str] = field(default_factory=list)
    """What was done when, as lines."""
    code: int | None = None
    """The exit code of `certvigil replace`, None where it was killed."""
    killed: bool = False
    """Whether whoever was to be killed was still there."""
    recovered: tuple[int, str] = (0, "")
    """What the last `certvigil recover --json` exited with and printed."""
    theirs: str = ""
    """SHA-256 of the certificate that somebody else wrote."""
    written: dict[str, bytes] = field(default_factory=dict)
    """What somebody else wrote whole, by path."""
    wrote_until: float = 0.0
    """When that was done, Unix time; 0.0 for not at all."""
    began: float = field(default_factory=time.monotonic)

    def note(self, line: str) -> None:
        """Take down what is done."""
        self.log.append(f"{time.monotonic() - self.began:7.3f} s  {line}")


class Play:
    """One round in one house."""

    def __init__(self, house: UnsafeHouse, drawn: Round) -> None:
        self.house, self.drawn = house, drawn
        self.old = house.issued[house.components[0].on_disk().leaf]
        self.new = house.issue()
        self.story = UnsafeStory(leaf_of(self.old), leaf_of(self.new), len(house.records()))
        self._known = house.recorded()
        self._left: list[int] = []
        """Commands of services whose certvigil was killed."""

    def run(self) -> UnsafeStory:
        """Play it to its end."""
        drawn, house = self.drawn, self.house
        for each in house.components:
            each.delay(drawn.slow)
        theirs = _RoundWriter(house, drawn.foreign, self.story) if drawn.foreign else None
        client = self._begin()
        over = _over(client)
        if theirs is not None and drawn.foreign is not None:
            self._await(drawn.foreign.moment, self._known, over)
            theirs.go()
            client.wait(PATIENCE)
            theirs.end()
        elif drawn.victim is Victim.SERVICE:
            self._kill_a_command(client, over)
        else:
            self._await(drawn.moment, self._known, over)
            self._kill(client)
        code = client.poll()
        if self.story.code is None and code is not None and code >= 0:
            self.story.code = code
        self._recover()
        wait_for(lambda: gone(self._left), PATIENCE, "the end of commands that were left")
        for each in house.components:
            each.delay(0.0)
        house.empty_inboxes()
        return self.story

    def _begin(self) -> Child:
        if self.drawn.by_hand:
            options = self.house.put(self.new)
        else:
            self.house.put_into_inboxes(self.new)
            options = []
        self.story.began = time.monotonic()
        self.story.note(f"certvigil replace {' '.join([*self.house.names, *options])}")
        return self.house.spawn("replace", *self.house.names, *options)

    def _await(self, moment: DrawnMoment, known: int, over: Callable[[], bool]) -> None:
        """Return at a moment, counted from so many records of the journal on, or once it is over."""
        begun = time.monotonic()
        while moment.after and self.house.recorded() < known + moment.after:
            if over() or time.monotonic() > begun + PATIENCE:
                return
            time.sleep(_POLL)
        end = time.monotonic() + moment.delay
        while time.monotonic() < end:
            if over():
                return
            until(min(end, time.monotonic() + _POLL))

    def _kill(self, client: Child) -> None:
        actor = self.drawn.victim is Victim.ACTOR
        pid = self.house.actor.pid if actor else client.pid
        self.story.killed = client.poll() is None
        self._end(pid, "the actor" if actor else "certvigil replace")
        if actor:
            self.house.actor.kill()
        client.wait(PATIENCE)

    def _end(self, pid: int, what: str) -> None:
        # What it has started goes on; it is found before nobody knows any more whose it was.
        self._left += self.house.commands_of(pid)
        kill(pid)
        last = [each["event"] for each in self.house.records()[self.story.before :]]
        self.story.note(f"kill -9 of {what}, after {', '.join(last) or 'nothing'}")

    def _kill_a_command(self, client: Child, over: Callable[[], bool]) -> None:
        worker = client.pid if self.drawn.by_hand else self.house.actor.pid
        met: list[int] = []
        while not over():
            new = [each for each in self.house.commands_of(worker) if each not in met]
            met += new
            if new and len(met) >= self.drawn.command:
                time.sleep(self.drawn.moment.delay if self.drawn.moment.after else 0.0)
                self.story.killed = not gone(new[-1:])
                kill(new[-1])
                self.story.note(f"kill -9 of command {len(met)} of a service")
                break
            time.sleep(_POLL)
        client.wait(PATIENCE)

    def _recover(self) -> None:
        """Recover as often as it is interrupted, and then to the end."""
        drawn, house = self.drawn, self.house
        if drawn.boot:
            for each in self._left:
                kill(each)
            house.actor.kill()
            house.reboot()
            self.story.note("the servers are ended, as by a loss of power")
        for moment in drawn.recoveries:
            if not self._interrupted(moment):
                break
        if drawn.boot:
            self._run("recover", "--no-services")
            house.boot()
            self.story.note("the servers are started")
        if house.cast.actor and not house.actor.running:
            house.actor.start()
            self.story.note("the actor is started")
        with suppress(TimeoutError):
            # Where only the command was killed, the actor goes on.
            wait_for(self._is_quiet, PATIENCE / 2)
        self.story.recovered = self._run("recover", "--json")

    def _run(self, *arguments: str) -> tuple[int, str]:
        code, said = self.house.run(*arguments)
        self.story.note(f"certvigil {' '.join(arguments)} exits with {code}")
        return code, said

    def _interrupted(self, moment: DrawnMoment) -> bool:
        """Whether a recovery was killed before it ended."""
        house = self.house
        known = house.recorded()
        by_actor = house.cast.actor and not self.drawn.boot
        if by_actor:
            pid = house.actor.launch()
            over, what = self._actor_is_through, "the actor, which recovers"
        else:
            process = house.spawn("recover", *(["--no-services"] if self.drawn.boot else []))
            pid, over, what = process.pid, _over(process), "certvigil recover"
        self._await(moment, known, over)
        if over():
            return False
        self._end(pid, f"{what} ({', '.join(each['event'] for each in house.records()[known:])})")
        if by_actor:
            house.actor.kill()
        return True

    def _actor_is_through(self) -> bool:
        return not self.house.actor.running or self.house.actor.answers()

    def _is_quiet(self) -> bool:
        """Whether what began has ended, by the journal."""
        records = self.house.records()[self.story.before :]
        begun = {each["transaction"] for each in records if each["event"] == "begin"}
        ended = {each["transaction"] for each in records if each["event"] in {"closed", "frozen"}}
        worked_on = self.drawn.victim is Victim.COMMAND and self.house.cast.actor and not self.drawn.by_hand
        return not worked_on or begun <= ended


def _over(process: Child) -> Callable[[], bool]:
    """Return what says whether a process has ended."""
    return lambda: process.poll() is not None


class _RoundWriter:
    """Somebody else, in a process of his own that waits for a word."""

    def __init__(self, house: UnsafeHouse, drawn: Foreign, story: UnsafeStory) -> None:
        self._story = story
        component = house.components[drawn.component]
        issued = house.issue()
        story.theirs = leaf_of(issued)
        self._steps = _steps(component, drawn, issued, f"{house.directory}/foreign")
        plan = f"{house.directory}/foreign.json"
        replace_file(plan, json.dumps(self._steps).encode())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", foreign.__file__, plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def go(self) -> None:
        """Give the word."""
        self._story.note(f"somebody else: {', '.join(_said(each) for each in self._steps)}")
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until everything is written."""
        said, _ = self._process.communicate(timeout=PATIENCE)
        for line in said.decode().splitlines():
            number, at = line.split()
            step = self._steps[int(number)]
            if "data" in step:
                with open(step["data"], "rb") as file:
                    self._story.written[step["path"]] = file.read()
                self._story.wrote_until = float(at)
        self._story.note("somebody else is done")


def _said(step: Mapping[str, Any]) -> str:
    detail = step.get("path") or step.get("seconds") or " ".join(step.get("command", ()))
    return f"{step['do']} {detail}"


def _steps(component: UnsafeComponent, drawn: Foreign, issued: Issued, place: str) -> Sequence[Mapping[str, Any]]:
    content: Mapping[str, bytes] = component.files(issued)
    if drawn.manner is WritingManner.GARBAGE:
        content = dict.fromkeys(list(content)[:1], _GARBAGE)
    elif drawn.manner is WritingManner.HALF:
        content = _half(component, issued, key=drawn.key_first)
    paths = sorted(content, key=lambda path: path.endswith(".key") is not drawn.key_first)
    steps: list[Mapping[str, Any]] = []
    for number, path in enumerate(paths):
        if number:
            steps.append({"do": "pause", "seconds": drawn.gap})
        data = f"{place}-{number}"
        replace_file(data, content[path], 0o600)
        steps.append({"do": drawn.way, "path": path, "data": data, "sha256": hashlib.sha256(content[path]).hexdigest()})
    if drawn.hook and drawn.manner is WritingManner.WHOLE and component.manager is not None:
        steps.append({"do": "run", "command": [component.manager.systemctl, component.activation]})
    return steps


def _half(component: UnsafeComponent, issued: Issued, *, key: bool) -> Mapping[str, bytes]:
    """Return files that no server can load with what else is there."""
    content = component.files(issued)
    if component.part.shape is ArtefactShape.PAIR:
        return {path: data for path, data in content.items() if path.endswith(".key") is key}
    ((path, data),) = content.items()
    return {path: data[: len(data) // 2]}

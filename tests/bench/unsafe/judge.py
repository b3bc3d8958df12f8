"""Whether a round was safe: what is on disk and served, and whether journal, audit and status say what happened."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from monitor.act.journal import RECONNECT
from monitor.commands.outcome import EXIT_CODE
from monitor.lab.process import wait_for
from tests.bench.unsafe.house import FilesOnDisk, Record, UnsafeComponent, UnsafeHouse, frozen
from tests.bench.unsafe.play import UnsafeStory

_PAUSE: Final = 0.3
_SOON: Final = 6.0
"""Seconds within which a server serves what it was told to, and the daemon has looked."""
_NOTICED: Final = 0.5
"""Seconds between a hash and the command that it is for: who writes in between, could not be seen."""
_ENDS: Final = frozenset({"committed", "rolled_back", "failed_forward", "superseded"})


def wrong(house: UnsafeHouse, story: UnsafeStory) -> list[str]:
    """Return what is wrong after a round, as sentences."""
    found = [each for component in house.components for each in _unsafe(component, story)]
    found += _mixed(house, story)
    found += [
        f"what somebody else wrote to {path} is nowhere any more"
        for path, data in story.written.items()
        if not house.holds(data)
    ]
    records = house.records()[story.before :]
    found += _journal(house, story, records)
    found += _audit(house, records)
    found += _status(house, story, records)
    return found


def remarks(house: UnsafeHouse, story: UnsafeStory) -> list[str]:
    """Return what is safe and yet not as it should be, as sentences."""
    held = frozen(house.records())
    return [
        f"{each.name}: frozen, though what somebody else wrote is whole and served"
        for each in house.components
        if each.name in held and story.theirs and each.served() == {story.theirs} == {each.on_disk().leaf}
    ]


def scene(house: UnsafeHouse) -> Iterator[str]:
    """Yield what is on disk and what is served, as lines."""
    for each in house.components:
        disk = each.on_disk()
        served = ", ".join(_called(leaf) for leaf in sorted(each.served()))
        yield f"{each.name}: on disk {_called(disk.leaf)}, {'whole' if disk.whole else 'not whole'}; served {served}"


def _called(leaf: str) -> str:
    return leaf[:16] or "nothing"


def _unsafe(component: UnsafeComponent, story: UnsafeStory) -> Iterator[str]:
    """Yield how a component is not live on a whole set."""
    name, disk = component.name, component.on_disk()
    expected = {disk.leaf}
    if story.theirs in expected or not disk.whole:
        # Whoever writes the files may leave it to others to have them taken up.
        expected |= {story.old, story.new, story.theirs}

    def is_live() -> bool:
        served = component.served()
        return len(served) == 1 and served <= expected - {""}

    with suppress(TimeoutError):
        wait_for(is_live, _SOON)
    if is_live():
        return
    served = component.served()
    if served != {""}:
        yield f"{name} serves {', '.join(map(_called, sorted(served)))} with {_called(disk.leaf)} on disk"
    elif disk.whole:
        yield f"{name} is dead, and a whole set is on disk"
    else:
        asked = [at for at, verb in component.asked() if verb in {"restart", "start", "stop"}]
        since = max(asked, default=0.0) - story.wrote_until
        if not story.wrote_until or since > _NOTICED:
            yield f"{name} is dead: its service was told to end and start {since:.1f} s after its files were broken"


def _mixed(house: UnsafeHouse, story: UnsafeStory) -> Iterator[str]:
    """Yield how the set is neither all old nor all new, where nobody else wrote."""
    if story.written:
        return
    disks = {each.on_disk() for each in house.components}
    if disks not in ({FilesOnDisk(story.old, whole=True)}, {FilesOnDisk(story.new, whole=True)}):
        yield "what is on disk is neither all old nor all new"


def _journal(house: UnsafeHouse, story: UnsafeStory, records: Sequence[Record]) -> Iterator[str]:
    """Yield how the journal does not say what happened."""
    begun = {each["transaction"]: each for each in records if each["event"] == "begin"}
    ends = {name: [each for each in records if each["transaction"] == name and _ends(each)] for name in begun}
    held = frozen(house.records())
    for name, begin in begun.items():
        over = {each["event"] for each in records if each["transaction"] == name} & {"closed", "frozen"}
        if not over:
            yield f"transaction {name} is not over, by the journal"
        if len({each["event"] for each in ends[name]}) > 1:
            yield f"transaction {name} ended in more than one way"
        if ends[name] and name == list(begun)[-1] and not held:
            yield from _as_recorded(begin, ends[name][-1]["event"], story)
    code, said = story.recovered
    document: Mapping[str, Any] = {}
    with suppress(ValueError):
        document = json.loads(said)
    if code not in {0, 3} or set(document.get("frozen", ())) != held:
        yield f"certvigil recover exits with {code}, and the journal has {sorted(held) or 'nothing'} frozen: {said}"
    last = [each for each in records if "outcome" in each]
    if story.code is not None and not story.killed and last and story.code in set(EXIT_CODE.values()):
        expected = next(code for outcome, code in EXIT_CODE.items() if outcome == last[-1]["outcome"])
        if story.code != expected:
            yield f"certvigil replace exited with {story.code}, and the journal says {last[-1]['outcome']}"


def _ends(record: Record) -> bool:
    return record["event"] in _ENDS


def _as_recorded(begin: Record, event: str, story: UnsafeStory) -> Iterator[str]:
    """Yield which files are not what the end of the transaction says."""
    if event not in {"committed", "rolled_back", "failed_forward"}:
        return
    for _, path, before, after, *_ in begin["plan"]["changes"]:
        state = before if event == "rolled_back" else after
        with open(path, "rb") as file:
            now = hashlib.sha256(file.read()).hexdigest()
        if now != state[0] and path not in story.written:
            yield f"the journal says {event}, and {path} is another file"


def _audit(house: UnsafeHouse, records: Sequence[Record]) -> Iterator[str]:
    """Yield how the audit does not tell what is in the journal."""
    code, said = house.run("audit", "--json")
    try:
        told = [json.loads(line) for line in said.splitlines()]
    except ValueError:
        told = []
    told = [(each["transaction"], each["event"]) for each in told]
    journal = [(each["transaction"], each["event"]) for each in records]
    if code or told[len(told) - len(journal) :] != journal:
        yield f"certvigil audit exits with {code} and tells {told[-len(journal) :]}, the journal {journal}"


def _status(house: UnsafeHouse, story: UnsafeStory, records: Sequence[Record]) -> Iterator[str]:
    """Yield how the status is not what is served, and not what the journal says."""
    began = time.monotonic()
    while differs := list(_differs(house, status := house.status(), records)):
        # An actor that was away for long is looked for again that often only.
        away = house.cast.actor and status.get("status", {}).get("no_actor")
        if time.monotonic() > began + (2 * RECONNECT[-1] if away else 2 * _SOON):
            yield from differs
            return
        time.sleep(_PAUSE)


def _differs(house: UnsafeHouse, status: Mapping[str, Any], records: Sequence[Record]) -> Iterator[str]:
    targets = {each["component"]: each for each in status.get("targets", ()) if each["kind"] == "endpoint"}
    acting = {each["component"]: each for each in status.get("components", ())}
    held = frozen(house.records())
    begun = {each["transaction"]: each["plan"]["components"] for each in records if each["event"] == "begin"}
    for component in house.components:
        name, served = component.name, component.served()
        target = targets.get(name)
        shown = (target["presented"][:1] or [""]) if target is not None else None
        if served == {""}:
            if target is None or target["verdict"] == "ok":
                yield f"status says {target['verdict'] if target else 'nothing'} of {name}, which is dead"
        elif shown is None or {*shown} != served:
            yield f"status says that {name} presents {shown}, and it presents {sorted(served)}"
        if not house.cast.actor:
            continue
        told = acting.get(name, {})
        if bool(told.get("frozen")) != (name in held):
            yield f"status says of {name} frozen: {told.get('frozen')}, the journal {sorted(held)}"
        ended = [
            (each["transaction"], each["outcome"])
            for each in records
            if "outcome" in each and name in (begun.get(each["transaction"]) or each.get("components", ()))
        ]
        last = told.get("last") or {}
        if ended and (last.get("transaction"), last.get("outcome")) != ended[-1]:
            yield f"status says of {name} that the last was {last}, the journal {ended[-1]}"

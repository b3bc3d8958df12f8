from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from actions.plan import Kind
from config.model import Artefacts, Component, Config, Endpoint
from config.policy import Regressed
from config.service import systemd
from config.text import Printable
from config.vocabulary import Code, LookOutcome, Mode, TargetKind
from monitor.decide.decision import DecisionMade
from monitor.decide.gather import ComponentRecord
from monitor.decide.loop import Decider
from monitor.decide.situation import Attempt, Result
from monitor.decide.table import DecisionTable
from monitor.state.bus import route
from monitor.state.messages import Looked
from monitor.state.target import Raised, TargetState
from probes.finding import finding
from tests.kit.metrics import some_certificate
from tests.kit.monitors import Kept, registry_of
from tests.kit.situations import HOUR, ROLLBACK, policy


def test_a_regression_seen_amid_a_failed_attempt_is_decided_about_by_the_next_look_even_if_that_sees_no_change() -> (
    None
):
    now = time.time()
    leaf = some_certificate("new")
    endpoint = Endpoint("web/443", "localhost", 443)
    component = Component("web", Artefacts(combined="/a"), ("web/443",), service=systemd("web"), mode=Mode.AUTO)
    rules = (policy(Regressed(HOUR), ROLLBACK),)
    config = Config(components={"web": component}, endpoints={"web/443": endpoint}, policies=rules)
    replaced = Attempt(Kind.REPLACE, "c1", now - 600, now - 590, Result.COMMITTED, transaction="t1", leaf=leaf.sha256)
    failed = Attempt(Kind.REPLACE, "c2", now - 40, now - 20, Result.CANDIDATE)
    broken = {(Code.INCOMPLETE_CHAIN, ""): Raised(finding(Code.INCOMPLETE_CHAIN, Printable("no issuer")), now - 30)}
    amid = TargetState(
        "web/443", TargetKind.ENDPOINT, "localhost:443", "web", (leaf,), findings=broken, last_look=now - 30
    )

    async def told() -> tuple[list[str], list[str]]:
        kept = Kept()
        registry = registry_of(config, kept)
        registry.remember(amid)
        record = ComponentRecord(attempts=(replace(replaced, undoable=True), failed))
        made: list[str] = []
        decided = asyncio.Event()

        def decision_made(message: DecisionMade) -> None:
            made.append(str(message.decision.status))
            decided.set()

        decider = Decider(registry, DecisionTable(rules), lambda _: record, kept.bus)
        kept.bus.connect((), (route(DecisionMade, decision_made),))
        decider.begin()
        running = asyncio.create_task(decider.run())
        await asyncio.sleep(0.2)
        before = list(made)
        registry.looked_again("web/443", time.time())
        decider.looked(Looked("web/443", TargetKind.ENDPOINT, LookOutcome.UNCHANGED, 0.1, 0.0))
        async with asyncio.timeout(30):
            await decided.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return before, made

    before, after = asyncio.run(told())
    assert before == []
    assert after == ["act"]

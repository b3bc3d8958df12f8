"""What fails for a reason that nobody foresaw costs one target, is said of it, and stops nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest

from config.model import Config, Endpoint, Watch
from config.vocabulary import Code, FileContent, UnreachableReason, UnreadableReason
from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.look import endpoints, job
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file
from probes.finding import Assessment
from probes.observation import EndpointObservation, FileObservation
from tests.kit.monitors import config_with, file_monitor, keep_looking, until

ROOT = Authority.root()


class Panic(BaseException):
    """What a panic of code in Rust arrives as."""


def test_a_file_that_makes_judging_panic_is_unreadable_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panics(observation: FileObservation, context: FileContext, now: float) -> Assessment:
        if context.target.name.endswith("bad.pem") and observation.content is not FileContent.NOTHING:
            raise Panic
        return assess_file(observation, context, now)

    async def story() -> None:
        good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
        good.write_bytes(ROOT.issue("a.example").pem())
        bad.write_bytes(ROOT.issue("b.example").pem())
        async with file_monitor(config_with(watches=(Watch((f"{tmp_path}/*.pem",)),))) as kept:
            before = kept.page.shown[str(bad)]
            monkeypatch.setattr(job, "assess_file", panics)
            for each in (good, bad):
                each.write_bytes(ROOT.issue("c.example").pem())
            await until(lambda: Code.UNREADABLE in kept.codes(str(bad)))
            known = kept.page.shown[str(bad)]
            assert known.failure is not None
            assert known.failure[0] == UnreadableReason.UNFORESEEN
            assert known.presented == before.presented
            await until(lambda: kept.page.shown[str(good)].presented[0].names == ("DNS:c.example",))

    asyncio.run(story())


def test_an_endpoint_that_makes_judging_panic_is_unreachable_and_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panics = True

    def assess(observation: EndpointObservation, context: EndpointContext, now: float) -> Assessment:
        if panics:
            raise Panic
        return assess_endpoint(observation, context, now)

    async def story() -> None:
        nonlocal panics
        monkeypatch.setattr(endpoints, "assess_endpoint", assess)
        web = Endpoint("web", *free_address(), every=0.05)
        async with keep_looking(Config(endpoints=MappingProxyType({"web": web}))) as kept:
            await until(lambda: Code.UNREACHABLE in kept.codes("web"))
            assert kept.page.shown["web"].failure == (UnreachableReason.UNFORESEEN, job.UNFORESEEN)
            panics = False
            await until(lambda: (kept.page.shown["web"].failure or ("",))[0] == UnreachableReason.CONNECTION_REFUSED)

    asyncio.run(story())

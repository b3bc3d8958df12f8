"""Every PromQL expression that is committed finds something where there is something to find."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import pytest

from monitor.lab.process import wait_for
from monitor.look.slots import SLOW_FOR_EACH
from tests.kit.daemon import RunningDaemon
from tests.kit.dashboards import METRIC, RULES, Expression, expressions_of_dashboards, expressions_of_rules
from tests.kit.estate import Estate, sha256
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.prometheus import Prometheus

NOT_HERE: Final = ('code="component_frozen"',)
"""What nothing on the estate is bad enough for."""

VALUES: Final = {
    "job": ".+",
    "instance": ".+",
    "component": ".*",
    "contains": "www",
    "target": ".*",
    "__rate_interval": "5s",
    "__range": "1m",
    "__interval": "1m",
}
LATER: Final = 200.0
"""Seconds from now at which targets have not been looked at for longer than a rule allows; their series still stand."""

PROMETHEUS_OWN: Final = {"up", "scrape_duration_seconds"}
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPED: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)")
_MATCHERS: Final = re.compile(r"\{([^}]*)\}")
_MATCHER: Final = re.compile(r"([a-z0-9_]+)\s*(?:=~|!~|!=|=)")

pytestmark = [pytest.mark.server("prometheus"), pytest.mark.server("nginx")]


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with ExitStack() as stack:
        yield Estate(str(tmp_path_factory.mktemp("estate")), stack)


def expressions() -> Iterator[Expression]:
    yield from expressions_of_rules()
    yield from expressions_of_dashboards()


def expected() -> list[Expression]:
    """Return the expressions that are to find something on the estate."""
    elsewhere = ("CertvigilAbsent", "CertvigilLate")
    return [
        each
        for each in expressions()
        if each.where not in elsewhere and not any(name in each.text for name in NOT_HERE)
    ]


def test_every_expression_finds_something(estate: Estate, start_prometheus: Callable[..., Prometheus]) -> None:
    """It takes long: five daemons on which everything is wrong, and each expression of ours."""
    prometheus = start_prometheus(*estate.addresses, rules=[str(RULES)])
    values = {**VALUES, "sha256": sha256(estate.served)}

    def finds(expression: Expression) -> bool:
        text = expression.with_values(values)
        found = prometheus.query(text) or prometheus.query(text, at=time.time() + LATER)
        return bool(found) and all(expression.label in {None, *labels} for labels, _ in found)

    def missing() -> Sequence[str]:
        return [each.where for each in waiting if not finds(each)]

    waiting = expected()
    try:
        wait_for(lambda: not missing(), 60.0, "every expression")
    except TimeoutError:
        assert missing() == []
    for each in expressions():
        # What finds nothing here is an expression all the same.
        prometheus.query(each.with_values(values))


def of_rule(name: str) -> str:
    (text,) = [each.text for each in expressions_of_rules() if each.where == name]
    return text


def test_that_nobody_is_scraped_is_found(start_prometheus: Callable[..., Prometheus]) -> None:
    assert start_prometheus().query(of_rule("CertvigilAbsent"))


@pytest.mark.slow
def test_that_looks_start_a_minute_late_is_found(
    start_prometheus: Callable[..., Prometheus],
    start_peer: Callable[[Behaviour], HostilePeer],
    cleanup: ExitStack,
) -> None:
    silent = start_peer(Behaviour.SILENT)
    # There is room for half of them, once none has answered.
    endpoint = {"address": f"{silent.host}:{silent.port}", "timeout": "65s"}
    endpoints = [{**endpoint, "name": name} for name in map(str, range(2 * SLOW_FOR_EACH))]
    daemon = cleanup.enter_context(RunningDaemon({"concurrency": 1, "endpoints": endpoints}))
    start_prometheus(daemon.web).wait_until(of_rule("CertvigilLate"), deadline=240)


def test_every_metric_and_label_is_exported(estate: Estate) -> None:
    exported = estate.busy.metrics() | estate.acting.metrics()
    metrics = {name for name, _ in exported} | PROMETHEUS_OWN
    labels = {"job", "instance"} | {pair[0] for _, pairs in exported for pair in pairs}
    recorded = {each.where for each in expressions_of_rules() if ":" in each.where}
    for each in expressions():
        bare = _STRING.sub('""', each.text)
        assert set(METRIC.findall(bare)) <= metrics | recorded, each.where
        named = {label for group in _GROUPED.findall(bare) for label in re.findall(r"[a-z0-9_]+", group)}
        matched = {label for group in _MATCHERS.findall(bare) for label in _MATCHER.findall(group)}
        made = {"server"} if "label_join" in bare else set()
        assert named | matched <= labels | made, each.where

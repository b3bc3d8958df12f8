"""What the dashboards and the rules cost Debian's Prometheus, and how many series a certificate has."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Final

from monitor.lab.ca import Authority
from monitor.lab.servers import Nginx, write_site
from tests.bench.daemon import MeasuredDaemon
from tests.bench.estate import MeasuredEstate
from tests.bench.report import Measurement
from tests.kit.dashboards import RULES, expressions_of_dashboards
from tests.kit.prometheus import Prometheus

CERTIFICATES: Final = 20_000
ENDPOINTS: Final = 20
ROUNDS: Final = 5
HISTORY: Final = 90
"""Seconds, of which lines are shown."""
POINTS: Final = 240
"""Of a line; Grafana asks for about as many as it is wide."""


def measure(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure with one daemon that watches all files."""
    site = write_site(os.path.join(directory, "shown"), Authority.root().intermediate().issue("localhost"))
    with Nginx(os.path.join(directory, "shown-nginx"), [site]) as server:
        endpoints = {f"endpoint {number}": server.address for number in range(ENDPOINTS)}
        with (
            MeasuredDaemon(directory, estate.pattern, endpoints=endpoints) as daemon,
            Prometheus(os.path.join(directory, "prometheus"), [daemon.listen], [str(RULES)], every="15s") as prometheus,
        ):
            ((_, series),) = prometheus.wait_until("scrape_samples_scraped > 1e5", deadline=60)
            yield Measurement("series_per_certificate", round(series / CERTIFICATES, 2), "series", 8)
            prometheus.wait_until("count(certvigil:lifetime_left:ratio) > 9e3", deadline=60)
            rules = []
            for _ in range(HISTORY):
                time.sleep(1)
                rules.append(max(prometheus.rule_seconds().values()))
            yield Measurement("panel_query_max_s", round(_slowest_query(prometheus), 3), "s", 1)
            yield Measurement("rule_eval_max_s", round(min(rules), 3), "s", 1)


def _slowest_query(prometheus: Prometheus) -> float:
    """Return the seconds of the slowest query, each at its fastest of some rounds."""
    now = time.time()
    ((labels, _),) = prometheus.query('topk(1, certvigil_presented_info{position="0"})')
    spans = {"__interval": "15s", "__rate_interval": "1m", "__range": "1h"}
    values = {**labels, **spans, "job": ".+", "instance": ".+", "component": ".*", "contains": ""}
    slowest = 0.0
    for each in expressions_of_dashboards():
        text = each.with_values(values)
        rounds = []
        for _ in range(ROUNDS):
            started = time.monotonic()
            if each.over_time:
                prometheus.query_range(text, now - HISTORY, now, HISTORY / POINTS)
            else:
                prometheus.query(text)
            rounds.append(time.monotonic() - started)
        # Whatever else the machine does only adds to it.
        sys.stderr.write(f"{min(rounds):.3f} s  {each.where}\n")
        slowest = max(slowest, min(rounds))
    return slowest

"""The dashboards are what their source says, and what Grafana takes."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.dashboards import ANNOTATION_FORMAT, as_json
from grafana.source.dashboards import DASHBOARDS as WRITTEN
from tests.kit.dashboards import DASHBOARDS, dashboards

NAMES: Final = ("overview", "certificate", "lifecycle", "daemon")
PANELS_OF_TODAY: Final = {"barchart", "stat", "state-timeline", "table", "timeseries"}
BUILT_IN: Final = {"__data", "__rate_interval", "__interval", "__range", "__all"}
COLUMNS: Final = 24


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> Any:
    return dashboards()[request.param]


def test_these_are_all() -> None:
    assert set(dashboards()) == set(WRITTEN) == set(NAMES)
    assert len({each["uid"] for each in dashboards().values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_what_is_written(name: str) -> None:
    assert (DASHBOARDS / f"{name}.json").read_text() == as_json(WRITTEN[name]()), "run `make dashboards`"


def test_grafana_reads_everything_in_it(dashboard: Any) -> None:
    register_default_plugins()
    for annotation in dashboard["annotations"]["list"]:
        for key in ANNOTATION_FORMAT:
            annotation.pop(key)
    read = Dashboard.from_json(dashboard)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == dashboard


def test_nothing_in_it_is_of_yesterday(dashboard: Any) -> None:
    assert dashboard["schemaVersion"] >= 41
    assert {panel["type"] for panel in dashboard["panels"]} <= PANELS_OF_TODAY


def test_every_variable_that_is_used_is_there(dashboard: Any) -> None:
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard["panels"]) + json.dumps(dashboard["annotations"])
    text += json.dumps([variable.get("query") for variable in dashboard["templating"]["list"]])
    used = set(re.findall(r"\$\{?(\w+)", text))
    assert used <= declared | BUILT_IN
    assert {"datasource", "instance"} <= declared


def test_every_query_goes_to_the_chosen_data_source(dashboard: Any) -> None:
    for panel in dashboard["panels"]:
        assert panel["targets"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_no_panel_covers_another(dashboard: Any) -> None:
    covered = Counter(
        (x, y)
        for at in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    )
    assert max(covered.values()) == 1
    assert max(x for x, _ in covered) < COLUMNS
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_panel_says_what_it_is_about(dashboard: Any) -> None:
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_links_lead_to_dashboards_that_are_there(dashboard: Any) -> None:
    uids = {each["uid"] for each in dashboards().values()}
    assert set(re.findall(r"/d/([\w-]+)/", json.dumps(dashboard))) <= uids
    assert [link["tags"] for link in dashboard["links"]] == [["certvigil"]]


def test_replacements_and_rollbacks_are_marked(dashboard: Any) -> None:
    marks = {each["expr"] for each in dashboard["annotations"]["list"]}
    assert len(marks) == 2
    assert all("certvigil_action_last_timestamp_seconds" in each for each in marks)

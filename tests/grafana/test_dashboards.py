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
from tests.kit.dashboards import DASHBOARDS, METRIC, dashboards, expressions_of_dashboards

NAMES: Final = ("overview", "certificate", "inventory", "lifecycle", "daemon")
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
    assert {"datasource", "job", "instance"} <= declared


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


# What Grafana's linter of dashboards checks (grafana/dashboard-linter), one test for each of its rules that is not
# tested above. Its other rules are about Loki.

WITH_UNITS: Final = {"stat", "timeseries"}
"""Panels that the linter wants a description and a unit of."""
COUNTED_OTHERWISE: Final = {
    "lifecycle": "certvigil_actions_total, certvigil_decisions_total and certvigil_notifications_total begin at 1 when "
    "something happens for the first time, which increase() does not see",
}
"""Dashboards with counters outside of rate(), irate() and increase(), and the reason."""
_SELECTED: Final = re.compile(METRIC.pattern + r"(?P<matchers>\{[^}]*\})?")
_COUNTER: Final = re.compile(r"(?P<around>\w+)?\(?certvigil_\w+_total\{[^}]*\}(?P<range>\[)?")
_RATE: Final = re.compile(r"\b(?:rate|irate)\([^\[\]]*\[(?P<range>[^\]]*)\]")


def test_it_cannot_be_edited(dashboard: Any) -> None:
    assert dashboard["editable"] is False


def test_the_data_source_is_a_variable(dashboard: Any) -> None:
    sources = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    assert [(each["name"], each["label"], each["query"]) for each in sources] == [
        ("datasource", "Data source", "prometheus")
    ]


@pytest.mark.parametrize(("name", "label"), [("job", "Job"), ("instance", "Instance")])
def test_several_jobs_and_instances_can_be_chosen(dashboard: Any, name: str, label: str) -> None:
    (each,) = [each for each in dashboard["templating"]["list"] if each["name"] == name]
    assert each["type"] == "query"
    assert each["datasource"]["uid"] == "${datasource}"
    assert (each["label"], each["multi"], each["includeAll"], each["allValue"]) == (label, True, True, ".+")


def test_variables_are_asked_for_when_the_time_range_changes(dashboard: Any) -> None:
    asked = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert {each["refresh"] for each in asked} == {2}


def test_every_selector_selects_the_chosen_jobs_and_instances() -> None:
    for each in expressions_of_dashboards():
        if "variable job" in each.where or "variable instance" in each.where:
            continue
        selectors = list(_SELECTED.finditer(re.sub(r"\b(?:on|by) \([^)]*\)", "", each.text)))
        assert selectors, each.where
        for selector in selectors:
            for label in ("job", "instance"):
                assert f'{label}=~"${label}"' in (selector["matchers"] or ""), (each.where, selector[0])


def test_panels_of_numbers_and_lines_have_a_description_and_a_unit(dashboard: Any) -> None:
    for panel in dashboard["panels"]:
        if panel["type"] in WITH_UNITS:
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "percentunit", "bytes", "dateTimeAsIso"}


def test_rates_are_over_the_interval_that_grafana_computes() -> None:
    ranges = {match["range"] for each in expressions_of_dashboards() for match in _RATE.finditer(each.text)}
    assert ranges == {"$__rate_interval"}


def test_counters_are_shown_by_their_rate_but_for_the_exceptions() -> None:
    counted = {
        each.where.partition(":")[0]
        for each in expressions_of_dashboards()
        for match in _COUNTER.finditer(each.text)
        if match["range"] is None or match["around"] not in {"rate", "irate", "increase"}
    }
    assert counted == set(COUNTED_OTHERWISE)

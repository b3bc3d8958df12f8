"""*Lifecycle*: changes, decisions and messages."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as States
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines

from grafana.source.parts import (
    BAD_FROM_ONE,
    BLUE,
    GREEN,
    GREY,
    NEUTRAL,
    ON,
    ORANGE,
    POOR_FROM_ONE,
    RED,
    YELLOW,
    bars,
    colored,
    columns,
    lines,
    new,
    now,
    number,
    prop,
    query,
    rows,
    states,
    transformation,
    words,
)

STATES = {
    0: ("observed", GREY),
    1: ("idle", GREEN),
    2: ("waiting", BLUE),
    3: ("approval pending", YELLOW),
    4: ("frozen", RED),
}
OUTCOMES = {
    "committed": ("committed", GREEN),
    "refused": ("refused", YELLOW),
    "rolled_back": ("rolled back", ORANGE),
    "failed_forward": ("failed forward", RED),
    "superseded": ("superseded", BLUE),
    "frozen": ("frozen", RED),
}


def lifecycle() -> Dashboard:
    """Return the dashboard."""
    dashboard = new("lifecycle", "certvigil: Lifecycle", "Replacements, rollbacks, decisions and messages.")
    panels = (*_numbers(), _actions(), _states(), _last(), _decisions(), _messages(), _waiting(), _latency())
    for panel in panels:
        dashboard = dashboard.with_panel(panel)
    return dashboard.time("now-7d", "now")


def _more(summed: str, counter: str, than: str) -> str:
    """Return by how much more has happened than that long ago.

    Not by increase(): the first time that something happens makes a series which begins at 1.
    """
    before = f"{summed} ({counter} offset {than})"
    return f"({summed} ({counter}) - ({before} or {summed} ({counter}) * 0))"


def _numbers() -> Iterator[Stat]:
    def happened(outcomes: str) -> str:
        counter = f"certvigil_actions_total{{{ON}, {outcomes}}}"
        # None of a kind is none, where there is anything that may be changed at all.
        return f"{_more('sum', counter, '$__range')} or sum(certvigil_component_state{{{ON}}}) * 0"

    about = "In the time that is shown."
    yield number("Committed", happened('outcome="committed"'), about, NEUTRAL)
    yield number("Refused", happened('outcome="refused"'), f"{about} Nothing was touched.", POOR_FROM_ONE)
    yield number("Undone", happened('outcome="rolled_back"'), f"{about} The old files are served again.", BAD_FROM_ONE)
    yield number(
        "Frozen components",
        f'sum(certvigil_component_state{{{ON}, state="frozen"}})',
        "Now. Somebody has to look.",
        BAD_FROM_ONE,
    )
    yield number(
        "Approvals pending",
        f'sum(certvigil_component_state{{{ON}, state="pending"}})',
        "Now. They wait for certvigil approve or reject.",
        POOR_FROM_ONE,
    )
    yield number(
        "Messages waiting",
        f"sum(certvigil_notifications_pending{{{ON}}})",
        "Now. They are tried again.",
        POOR_FROM_ONE,
    )


def _actions() -> Lines:
    happened = _more("sum by (action, outcome)", f"certvigil_actions_total{{{ON}}}", "$__interval") + " > 0"
    return bars("Transactions", "How they ended.", query(happened, "{{action}}: {{outcome}}"))


def _states() -> States:
    ranked = "\n  or ".join(
        f'certvigil_component_state{{{ON}, state="{state}"}} * {rank}'
        for rank, state in enumerate(("observed", "idle", "waiting", "pending", "frozen"))
    )
    expression = f"sum by (instance, component) (\n  {ranked}\n)"
    return states("Components", "The state of each.", query(expression, "{{component}} on {{instance}}")).mappings(
        words(STATES)
    )


def _last() -> Table:
    last = f"certvigil_action_last_timestamp_seconds{{{ON}}}"
    expression = f"topk(200, max by (instance, component, action, outcome) ({last})) * 1000"
    return (
        rows("When each last ended how", "The latest first.", now(expression))
        .transformations(
            [
                transformation("sortBy", {"sort": [{"field": "Value", "desc": True}]}),
                *columns(
                    Value="When", instance="Daemon", component="Component", action="Transaction", outcome="Outcome"
                ),
            ]
        )
        .override_by_name("When", [prop("unit", "dateTimeAsIso"), prop("custom.width", 180)])
        .override_by_name("Outcome", colored(OUTCOMES))
        .height(8)
    )


def _decisions() -> Lines:
    decided = _more("sum by (policy, action)", f"certvigil_decisions_total{{{ON}}}", "$__interval") + " > 0"
    return bars("Decisions", "By policy and action.", query(decided, "{{policy}}: {{action}}"))


def _messages() -> Lines:
    sent = _more("sum by (channel, outcome)", f"certvigil_notifications_total{{{ON}}}", "$__interval") + " > 0"
    return bars("Messages", "By channel; dead ones were given up.", query(sent, "{{channel}}: {{outcome}}"))


def _waiting() -> Lines:
    waiting = f"sum by (instance, channel) (certvigil_notifications_pending{{{ON}}})"
    return lines(
        "Messages waiting over time", "For a channel to take them.", query(waiting, "{{channel}} of {{instance}}")
    ).min(0)


def _latency() -> Lines:
    rate = f"sum by (le) (rate(certvigil_event_latency_seconds_bucket{{{ON}}}[$__rate_interval]))"
    return lines(
        "From a changed file to the changed metric",
        "From the kernel's notice on.",
        query(f"histogram_quantile(0.5, {rate})", "median", "A"),
        query(f"histogram_quantile(0.99, {rate})", "99%", "B"),
        unit="s",
    ).min(0)

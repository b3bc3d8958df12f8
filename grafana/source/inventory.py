"""*Inventory*: which certificates there are, how they are served, and how available the endpoints are."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines

from grafana.source.parts import (
    BAD_FROM_ONE,
    NEUTRAL,
    OF_COMPONENT,
    ON,
    SHARE_UP,
    colored_by,
    columns,
    components,
    lines,
    new,
    now,
    number,
    prop,
    query,
    rows,
    transformation,
)

ENDPOINTS = f'certvigil_target_info{{{OF_COMPONENT}, kind="endpoint"}}'
LEAVES = f'certvigil_presented_info{{{OF_COMPONENT}, position="0"}}'
UP = f"certvigil:endpoint_up{{{OF_COMPONENT}}}"


def inventory() -> Dashboard:
    """Return the dashboard."""
    about = "Which certificates there are, how they are served, and how available the endpoints are."
    dashboard = new("inventory", "certvigil: Inventory", about).with_variable(components())
    for panel in (*_numbers(), *_certificates(), *_handshakes(), _availability(), _down()):
        dashboard = dashboard.with_panel(panel)
    return dashboard


def _numbers() -> Iterator[Stat]:
    looked_at = f'certvigil_target_info{{{OF_COMPONENT}, kind=~"file|endpoint"}}'
    yield number("Targets", f"count({looked_at})", "Files and endpoints.", NEUTRAL)
    yield number("Endpoints", f"count({ENDPOINTS})", "Each once, however many addresses it has.", NEUTRAL)
    yield number("Certificates", f"count(count by (sha256) ({LEAVES}))", "Without their issuers.", NEUTRAL)
    yield number(
        "Targets without facts",
        f"count(certvigil_target_up{{{ON}}} == 0 and on (job, instance, target) {looked_at}) or vector(0)",
        "Their last look gave none.",
        BAD_FROM_ONE,
    )
    yield number(
        "Negotiations not allowed",
        f"count(certvigil_negotiated_allowed{{{ON}}} == 0 and on (job, instance, target) {ENDPOINTS}) or vector(0)",
        "Endpoints whose protocol or cipher the configuration does not allow.",
        BAD_FROM_ONE,
    )
    yield number(
        "Availability",
        f"avg(avg_over_time({UP}[$__range]))",
        "Of all endpoints, in the time that is shown.",
        SHARE_UP,
        "percentunit",
    )


def _certificates() -> Iterator[Table]:
    def by(label: str) -> str:
        each = f"max by (sha256, {label}) (certvigil_certificate_info{{{ON}}}) and on (sha256) {LEAVES}"
        return f"topk(50, count by ({label}) ({each}))"

    about = "Each certificate once, however many targets present it."
    yield _counted("By issuer", about, by("issuer"), issuer="Issuer")
    yield _counted("By key", about, by("key"), key="Key")


def _handshakes() -> Iterator[Table]:
    def by(label: str) -> str:
        each = f"max by (job, instance, target, {label}) (certvigil_negotiated_info{{{ON}}})"
        return f"topk(50, count by ({label}) ({each} and on (job, instance, target) {ENDPOINTS}))"

    about = "Endpoints that negotiated it with certvigil at the last look."
    yield _counted("By protocol", about, by("protocol"), protocol="Protocol").span(8)
    yield _counted("By cipher", about, by("cipher"), cipher="Cipher").span(8)
    yield _counted("By key exchange group", about, by("group"), group="Group").span(8)


def _counted(title: str, about: str, expression: str, **label: str) -> Table:
    """Return a table of how many there are of each value of a label, the most first."""
    return (
        rows(title, about, now(expression))
        .transformations(
            [
                transformation("sortBy", {"sort": [{"field": "Value", "desc": True}]}),
                *columns(**label, Value="Number"),
            ]
        )
        .override_by_name("Number", [prop("custom.width", 110)])
        .height(8)
        .span(12)
    )


def _availability() -> Table:
    share = f"bottomk(200, avg_over_time({UP}[$__range]))"
    return (
        rows("Availability of endpoints", "Share of the time that is shown in which they answered.", now(share))
        .transformations(
            [
                transformation("sortBy", {"sort": [{"field": "Value"}]}),
                *columns(target="Target", component="Component", instance="Daemon", Value="Available"),
            ]
        )
        .override_by_name("Available", [*colored_by(SHARE_UP), prop("unit", "percentunit"), prop("decimals", 2)])
        .span(12)
    )


def _down() -> Lines:
    return lines(
        "Endpoints that do not answer",
        "As each daemon sees it.",
        query(f"count by (instance) ({UP} == 0)", "{{instance}}"),
    ).min(0)

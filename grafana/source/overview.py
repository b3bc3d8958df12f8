"""*Overview*: the problems that need a person now."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.barchart import Panel as Bars
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as States
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines

from grafana.source.parts import (
    BAD_FROM_ONE,
    CERTIFICATE_LINK,
    GREEN,
    NEUTRAL,
    OF_COMPONENT,
    ON,
    ORANGE,
    POOR_FROM_ONE,
    RED,
    SHARE_LEFT,
    YES_OR_NO,
    bars,
    colored,
    columns,
    components,
    counted,
    linked,
    matrix,
    new,
    now,
    number,
    prop,
    query,
    rows,
    severity_column,
    states,
    steps,
    transformation,
    words,
)

HELD = "certvigil:findings:held"
"""The findings, by the rules in grafana/rules; where a daemon does not answer, its last ones."""
LEFT = f"certvigil:lifetime_left:ratio{{{OF_COMPONENT}}}"
EXPIRY = f"certvigil:target_expiry_timestamp_seconds{{{OF_COMPONENT}}}"
ENDS = f"min by (sha256) ({EXPIRY})"
ACCEPTS = (
    f"(certvigil_client_accepts{{{ON}}}"
    f' and on (job, instance, target) certvigil_target_info{{{OF_COMPONENT}, kind="endpoint"}})'
)
FIRST = f"bottomk(100, min by (sha256) ({LEFT}))"
FACTS = (
    "group_left (subject, issuer) max by (sha256, subject, issuer) "
    f"(certvigil_certificate_info{{{ON}}} and on (sha256) {FIRST})"
)


def overview() -> Dashboard:
    """Return the dashboard."""
    dashboard = new("overview", "certvigil: Overview", "The problems that need a person now, on all hosts.")
    dashboard = dashboard.with_variable(components())
    tables = (_to_do(), _overdue(), _ends_first())
    for panel in (*_numbers(), *tables, _timeline(), _problems(), _components(), _clients()):
        dashboard = dashboard.with_panel(panel)
    return dashboard


def _numbers() -> Iterator[Stat]:
    def targets(severity: str) -> str:
        found = f'{HELD}{{{OF_COMPONENT}, severity="{severity}"}}'
        return f"count(count by (job, instance, target) ({found})) or vector(0)"

    yield number(
        "Daemons that do not answer",
        f"count(certvigil:up{{{ON}}} == 0) or vector(0)",
        "Their last values are still shown, and grow old.",
    )
    yield number("Critical targets", targets("critical"), "Files and endpoints with at least one critical finding.")
    yield number(
        "Targets with warnings", targets("warning"), "Files and endpoints with at least one warning.", POOR_FROM_ONE
    )
    yield number(
        "Certificates in their last eighth",
        f"count(min by (sha256) ({LEFT}) < 0.125) or vector(0)",
        "Less than 12.5% of their lifetime is left; each counts once, however many hosts present it.",
    )
    yield number(
        "Clients that are rejected",
        f"count({ACCEPTS} == 0) or vector(0)",
        "Pairs of a client and an endpoint whose certificate it does not accept.",
        BAD_FROM_ONE,
    )
    yield number(
        "Certificates watched",
        f"count(count by (sha256) (certvigil_presented_info{{{OF_COMPONENT}}}))",
        "Each counts once, issuers included.",
        NEUTRAL,
    )


def _to_do() -> Table:
    critical, warning = (
        "sum by (severity, code, target, component, instance, sha256) "
        f'({HELD}{{{OF_COMPONENT}, severity="{severity}"}})'
        for severity in ("critical", "warning")
    )
    return (
        rows(
            "Problems that need a person now",
            "Every finding that is no mere notice, critical ones first.",
            now(f"topk(200, {critical} * 1000\n  or {warning})"),
        )
        .transformations(
            [
                transformation("sortBy", {"sort": [{"field": "Value", "desc": True}]}),
                *columns(
                    severity="Severity",
                    code="Finding",
                    target="Target",
                    component="Component",
                    instance="Daemon",
                    sha256="sha256",
                ),
            ]
        )
        .override_by_name("Severity", severity_column())
        .override_by_name("Target", linked("The certificate", CERTIFICATE_LINK))
        .override_by_name("sha256", [prop("custom.hidden", True)])
    )


def _overdue() -> Table:
    due = f'{HELD}{{{OF_COMPONENT}, code=~"expiring|expired", severity=~"warning|critical"}}'
    expression = f"bottomk(200, {EXPIRY} * 1000 and on (job, instance, target) {due})"
    return (
        rows(
            "Renewals that are overdue",
            "By the thresholds of each target: it should have been renewed.",
            now(expression),
        )
        .transformations(
            [
                transformation("sortBy", {"sort": [{"field": "Value"}]}),
                *columns(Value="Ends", target="Target", component="Component", instance="Daemon", sha256="sha256"),
            ]
        )
        .override_by_name("Ends", [prop("unit", "dateTimeAsIso"), prop("custom.width", 180)])
        .override_by_name("Target", linked("The certificate", CERTIFICATE_LINK))
        .override_by_name("sha256", [prop("custom.hidden", True)])
        .height(7)
    )


def _ends_first() -> Table:
    share = f"{FIRST} * on (sha256) {FACTS}"
    end = f"{ENDS} * 1000 and on (sha256) {FIRST}"
    targets = f"count by (sha256) ({LEFT}) and on (sha256) {FIRST}"
    return (
        rows(
            "Certificates that end first",
            "By the share of their lifetime that is left. One that many hosts present is one row.",
            now(share, "A"),
            now(end, "B"),
            now(targets, "C"),
        )
        .transformations(
            [
                transformation("joinByField", {"byField": "sha256", "mode": "inner"}),
                *columns(
                    subject="Subject",
                    issuer="Issuer",
                    **{"Value #A": "Lifetime left", "Value #B": "Ends", "Value #C": "Presented by"},
                    sha256="sha256",
                ),
                transformation("sortBy", {"sort": [{"field": "Lifetime left"}]}),
            ]
        )
        .override_by_name(
            "Lifetime left",
            [
                prop("unit", "percentunit"),
                prop("decimals", 1),
                prop("min", 0),
                prop("max", 1),
                prop("thresholds", steps(SHARE_LEFT).build()),
                prop("custom.cellOptions", {"type": "gauge", "mode": "basic"}),
                prop("custom.width", 200),
            ],
        )
        .override_by_name("Ends", [prop("unit", "dateTimeAsIso"), prop("custom.width", 180)])
        .override_by_name("Presented by", [prop("custom.width", 120)])
        .override_by_name("Subject", linked("The certificate", CERTIFICATE_LINK))
        .override_by_name("sha256", [prop("custom.hidden", True)])
    )


def _timeline() -> Bars:
    weeks = f'count_values("weeks", clamp(floor(({ENDS} - time()) / 604800), -1, 53))'
    return counted(
        "Weeks until certificates end",
        "Each certificate once, by whole weeks from now; -1 has ended, 53 is in more than a year.",
        now(weeks),
        "weeks",
    )


def _problems() -> Lines:
    expression = f'sum by (code) ({HELD}{{{OF_COMPONENT}, severity=~"warning|critical"}})'
    return bars("Problems by kind", "Findings that are no mere notices.", query(expression, "{{code}}"))


def _components() -> States:
    critical, warning = (
        f'{HELD}{{{OF_COMPONENT}, component!="", severity="{severity}"}} * 0 + {rank}'
        for severity, rank in (("critical", 2), ("warning", 1))
    )
    known = f'certvigil_target_info{{{OF_COMPONENT}, component!=""}} * 0'
    worst = f"max by (instance, component) (\n  {critical}\n  or {warning}\n  or {known}\n)"
    meaning = {0: ("ok", GREEN), 1: ("warning", ORANGE), 2: ("critical", RED)}
    return (
        states("Components", "The worst finding of each.", query(worst, "{{component}} on {{instance}}"))
        .mappings(words(meaning))
        .span(24)
    )


def _clients() -> Table:
    named = f'label_join({ACCEPTS}, "server", " on ", "target", "instance")'
    expression = f"min by (server, client) ({named})\n  and on (server) bottomk(100, min by (server) ({named}))"
    return (
        rows("Which client accepts which server", "Servers that some client rejects come first.", now(expression))
        .transformations(matrix("server", "client"))
        .mappings(words(YES_OR_NO))
        .override_by_regexp("^(?!server)", colored(YES_OR_NO))
    )

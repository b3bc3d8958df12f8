"""*Certificate*: one certificate, its places, its clients, and its predecessors."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard, TextBoxVariable
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption

from grafana.source.parts import (
    BAD_FROM_ONE,
    NEUTRAL,
    ON,
    POOR_FROM_ONE,
    SHARE_LEFT,
    YES_OR_NO,
    colored,
    columns,
    lines,
    matrix,
    new,
    now,
    number,
    prop,
    query,
    rows,
    severity_column,
    steps,
    transformation,
    variable,
    words,
)

HERE = f'certvigil_presented_info{{{ON}, sha256="$sha256"}}'
"""Where it is, at any position."""
LEAF = f'certvigil_presented_info{{{ON}, sha256="$sha256", position="0"}}'
"""Where it comes first."""
AT = "and on (job, instance, target)"
LISTED = f'certvigil_certificate_info{{{ON}, subject=~"(?i).*$contains.*"}}'
LIST = f"query_result(topk(500, max by (sha256, subject) ({LISTED})))"
TARGETS = f"query_result(topk(500, max by (target) ({HERE})))"
"""Labels by which Prometheus finds their other series in its index."""
NAMED = f'{ON}, target=~"$target"'


def certificate() -> Dashboard:
    """Return the dashboard."""
    chosen = variable("sha256", "Certificate", LIST).regex(r'/sha256="(?<value>[^"]+)".*subject="(?<text>[^"]+)"/')
    targets = variable("target", "Targets", TARGETS).regex('/target="([^"]+)"/').multi(True).include_all(True)
    every = VariableOption(text="All", value="$__all")
    dashboard = (
        new("certificate", "certvigil: Certificate", "One certificate: its places, its clients, its predecessors.")
        .time("now-7d", "now")
        .with_variable(TextBoxVariable("contains").label("Subject contains"))
        .with_variable(chosen)
        .with_variable(targets.current(every).hide(VariableHide.HIDE_VARIABLE))
    )
    for panel in (*_numbers(), _facts(), _places(), _chain(), _clients(), _findings(), *_history()):
        dashboard = dashboard.with_panel(panel)
    return dashboard


def _numbers() -> Iterator[Stat]:
    yield number(
        "Lifetime left",
        f'min(certvigil:lifetime_left:ratio{{{ON}, sha256="$sha256"}})',
        "Of the leaf, where some target presents it as such.",
        SHARE_LEFT,
        "percentunit",
    )
    ends = f"certvigil_not_after_timestamp_seconds{{{NAMED}}}"
    yield number(
        "Ends in",
        f"min({ends} and on (job, instance, target, position) {HERE}) - time()",
        "Of its own validity, without its issuers.",
        NEUTRAL,
        "s",
    )
    yield number("Presented by targets", f"count({HERE})", "Files and endpoints, on all hosts.", NEUTRAL)
    yield number("On hosts", f"count(count by (instance) ({HERE}))", "By the daemons that see it.", NEUTRAL)
    yield number(
        "Clients that are rejected",
        f"count((certvigil_client_accepts{{{NAMED}}} == 0) {AT} {LEAF}) or vector(0)",
        "Pairs of a client and an endpoint that presents it.",
        BAD_FROM_ONE,
    )
    yield number(
        "Findings",
        f'sum(certvigil:findings:held{{{ON}, sha256="$sha256", severity=~"warning|critical"}}) or vector(0)',
        "On targets that present it, mere notices left out.",
        POOR_FROM_ONE,
    )


def _facts() -> Table:
    labels = "subject, issuer, serial, key, signature_hash, ca, sha256"
    return (
        rows("Content", "", now(f'max by ({labels}) (certvigil_certificate_info{{{ON}, sha256="$sha256"}})'))
        .transformations(
            columns(
                subject="Subject",
                issuer="Issuer",
                serial="Serial number",
                key="Key",
                signature_hash="Signed over",
                ca="CA",
                sha256="SHA-256",
            )
        )
        .height(4)
    )


def _places() -> Table:
    expression = (
        f"{HERE} * on (job, instance, target) group_left (kind, component, location) certvigil_target_info{{{NAMED}}}"
    )
    return (
        rows("Where it is", "Every file and endpoint that presents it.", now(expression))
        .transformations(
            columns(
                instance="Daemon",
                target="Target",
                kind="Kind",
                component="Component",
                location="Location",
                position="Position",
            )
        )
        .height(8)
        .span(12)
    )


def _chain() -> Table:
    ends = f"(certvigil_not_after_timestamp_seconds{{{NAMED}}} {AT} {LEAF})"
    presented = f"certvigil_presented_info{{{NAMED}}}"
    with_hash = f"{ends} * on (job, instance, target, position) group_left (sha256) {presented}"
    facts = f"max by (sha256, subject, issuer) (certvigil_certificate_info{{{ON}}})"
    expression = (
        f"max by (position, sha256, subject, issuer) (\n  ({with_hash})\n"
        f"  * on (sha256) group_left (subject, issuer) {facts}\n) * 1000"
    )
    return (
        rows("Presented with it", "Every chain in which it comes first.", now(expression))
        .transformations(
            [
                *columns(position="Position", subject="Subject", issuer="Issuer", Value="Ends", sha256="SHA-256"),
                transformation("sortBy", {"sort": [{"field": "Position"}]}),
            ]
        )
        .override_by_name("Ends", [prop("unit", "dateTimeAsIso"), prop("custom.width", 180)])
        .height(8)
        .span(12)
    )


def _clients() -> Table:
    accepts = f"certvigil_client_accepts{{{NAMED}}} {AT} {LEAF}"
    expression = f'min by (server, client) (label_join({accepts}, "server", " on ", "target", "instance"))'
    return (
        rows("Which client accepts it where", "Empty where no endpoint presents it as its own.", now(expression))
        .transformations(matrix("server", "client"))
        .mappings(words(YES_OR_NO))
        .override_by_regexp("^(?!server)", colored(YES_OR_NO))
        .height(8)
        .span(12)
    )


def _findings() -> Table:
    found = f'certvigil:findings:held{{{ON}, sha256="$sha256"}}'
    expression = f"sum by (severity, code, target, instance) ({found})"
    return (
        rows("Findings on its targets", "Notices included.", now(expression))
        .transformations(columns(severity="Severity", code="Finding", target="Target", instance="Daemon"))
        .override_by_name("Severity", severity_column())
        .height(8)
        .span(12)
    )


def _history() -> Iterator[Lines]:
    now_here = f"({LEAF} @ end())"
    yield lines(
        "End of the certificates of its targets",
        "A step up is a renewal. Earlier certificates of its present targets are shown, too.",
        query(
            f'certvigil_not_after_timestamp_seconds{{{NAMED}, position="0"}} * 1000 {AT} {now_here}',
            "{{target}} on {{instance}}",
        ),
        unit="dateTimeAsIso",
    )
    yield (
        lines(
            "Lifetime left over time",
            "Of the certificates of these targets at that time.",
            query(f"certvigil:lifetime_left:ratio{{{NAMED}}} {AT} {now_here}", "{{target}} on {{instance}}"),
            unit="percentunit",
        )
        .thresholds(steps(SHARE_LEFT))
        .min(0)
        .max(1)
    )

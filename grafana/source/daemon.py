"""*Daemon*: whether certvigil itself does its work, and in time."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines

from grafana.source.parts import (
    BAD_FROM_ONE,
    GREEN,
    NEUTRAL,
    ON,
    POOR_FROM_ONE,
    RED,
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
    transformation,
)

OURS = f"and on (job, instance) certvigil_build_info{{{ON}}}"
"""Of the families that other programs have, too."""


def daemon() -> Dashboard:
    """Return the dashboard."""
    dashboard = new("daemon", "certvigil: Daemon", "Whether certvigil itself does its work, and in time.")
    for panel in (*_numbers(), _daemons(), *_looks(), *_resources(), *_trust_context()):
        dashboard = dashboard.with_panel(panel)
    return dashboard


def _numbers() -> Iterator[Stat]:
    last_look = f"certvigil_target_last_look_timestamp_seconds{{{ON}}}"
    yield number("Daemons that answer", f"sum(certvigil:up{{{ON}}})", "To Prometheus.", NEUTRAL)
    yield number(
        "Daemons that do not", f"count(certvigil:up{{{ON}}} == 0) or vector(0)", "Nobody looks for them.", BAD_FROM_ONE
    )
    yield number(
        "Oldest look",
        f"max(time() - {last_look})",
        "How long ago the target was looked at that waits longest.",
        ((None, GREEN), (3600, RED)),
        "s",
    )
    yield number(
        "Never looked at",
        f"count(certvigil_target_info{{{ON}}} unless on (job, instance, target) {last_look}) or vector(0)",
        "Targets that nobody has looked at since their daemon started.",
        BAD_FROM_ONE,
    )
    stale = f"certvigil_config_stale{{{ON}}} == 1"
    rejected = f"certvigil_config_last_reload_successful{{{ON}}} == 0"
    yield number(
        "Configurations not in force",
        f"count({stale} or {rejected}) or vector(0)",
        "The configuration on disk has mistakes, or was not read again.",
        POOR_FROM_ONE,
    )
    yield number("Waivers", f"sum(certvigil_waivers{{{ON}}})", "Findings that are openly silenced.", NEUTRAL)


def _daemons() -> Table:
    version = f"max by (instance, version) (certvigil_build_info{{{ON}}})"
    targets = f"count by (instance) (certvigil_target_info{{{ON}}})"
    started = f"max by (instance) (process_start_time_seconds{{{ON}}} {OURS}) * 1000"
    return (
        rows(
            "Daemons",
            "Those that Prometheus knows.",
            now(f"max by (instance) (certvigil:up{{{ON}}})", "A"),
            now(version, "B"),
            now(targets, "C"),
            now(started, "D"),
            now(f"max by (instance) (certvigil_database_degraded{{{ON}}})", "E"),
        )
        .transformations(
            [
                transformation("joinByField", {"byField": "instance", "mode": "outer"}),
                *columns(
                    instance="Daemon",
                    **{"Value #A": "Answers"},
                    version="Version",
                    **{"Value #C": "Targets", "Value #D": "Runs since", "Value #E": "History recorded"},
                ),
            ]
        )
        .override_by_name("Runs since", [prop("unit", "dateTimeAsIso")])
        .override_by_name("Answers", colored({1: ("yes", GREEN), 0: ("no", RED)}))
        .override_by_name("History recorded", colored({0: ("yes", GREEN), 1: ("no", RED)}))
        .height(7)
    )


def _looks() -> Iterator[Lines]:
    looks = f"sum by (kind, outcome) (rate(certvigil_looks_total{{{ON}}}[$__rate_interval]))"
    yield lines("Looks per second", "By how they ended.", query(looks, "{{kind}} {{outcome}}")).min(0)
    failed = f'sum by (instance) (increase(certvigil_looks_total{{{ON}, outcome="failed"}}[$__rate_interval])) > 0'
    yield bars(
        "Looks that failed",
        "Of files that cannot be read, and endpoints that do not answer.",
        query(failed, "{{instance}}"),
    )
    lasted = f"sum by (kind, le) (rate(certvigil_look_duration_seconds_bucket{{{ON}}}[$__rate_interval]))"
    yield lines(
        "Duration of a look, 99%",
        "Of files and of endpoints.",
        query(f"histogram_quantile(0.99, {lasted})", "{{kind}}"),
        unit="s",
    ).min(0)
    late = f"sum by (instance, le) (rate(certvigil_look_lag_seconds_bucket{{{ON}}}[$__rate_interval]))"
    yield lines(
        "Lag of looks, 99%",
        "By which they start after they were due.",
        query(f"histogram_quantile(0.99, {late})", "{{instance}}"),
        unit="s",
    ).min(0)


def _resources() -> Iterator[Lines]:
    yield lines(
        "Resident memory",
        "Of each daemon.",
        query(f"process_resident_memory_bytes{{{ON}}} {OURS}", "{{instance}}"),
        unit="bytes",
    ).min(0)
    cpu = f"rate(process_cpu_seconds_total{{{ON}}}[$__rate_interval]) {OURS}"
    yield lines("CPU", "Share of one core.", query(cpu, "{{instance}}"), unit="percentunit").min(0)
    files = f"process_open_fds{{{ON}}} {OURS}"
    yield lines("Open file descriptors", "Of each daemon.", query(files, "{{instance}}")).min(0)
    scrape = f"scrape_duration_seconds{{{ON}}} {OURS}"
    yield lines("Duration of a scrape", "As Prometheus sees it.", query(scrape, "{{instance}}"), unit="s").min(0)


def _trust_context() -> Iterator[Lines]:
    watched = f"sum by (instance, mode) (certvigil_watched_directories{{{ON}}})"
    yield lines(
        "Directories watched", "Polled where the kernel does not tell.", query(watched, "{{instance}}: {{mode}}")
    ).min(0)
    lost = f"sum by (instance) (increase(certvigil_event_queue_overflows_total{{{ON}}}[$__rate_interval]))"
    yield bars("Notices that the kernel lost", "Everything is looked at again then.", query(lost, "{{instance}}"))

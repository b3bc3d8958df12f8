from __future__ import annotations

from config.vocabulary import DeliveryOutcome, LookOutcome, TargetKind
from monitor.metrics import Counters
from monitor.state.messages import DatabaseHealthChanged, Looked
from tests.kit.metrics import samples, value


def test_every_outcome_of_a_look_is_counted_from_zero() -> None:
    text = Counters("1.0", 1.0).text().decode()
    for kind in ("file", "endpoint"):
        for outcome in LookOutcome:
            assert value(text, "certvigil_looks_total", kind=kind, outcome=outcome) == 0


def test_a_look_is_counted_with_its_duration_and_lag() -> None:
    counters = Counters("1.0", 1.0)
    counters.looked(Looked("mail", TargetKind.ENDPOINT, LookOutcome.FAILED, seconds=0.2, lag=2.0))
    text = counters.text().decode()
    assert value(text, "certvigil_looks_total", kind="endpoint", outcome="failed") == 1
    assert value(text, "certvigil_look_duration_seconds_sum", kind="endpoint") == 0.2
    assert value(text, "certvigil_look_duration_seconds_bucket", kind="endpoint", le="0.1") == 0
    assert value(text, "certvigil_look_duration_seconds_bucket", kind="endpoint", le="0.25") == 1
    assert value(text, "certvigil_look_lag_seconds_sum") == 2.0


def test_the_latency_of_events_is_told_apart_by_milliseconds() -> None:
    counters = Counters("1.0", 1.0)
    counters.event_latency(0.0015)
    text = counters.text().decode()
    assert value(text, "certvigil_event_latency_seconds_bucket", le="0.001") == 0
    assert value(text, "certvigil_event_latency_seconds_bucket", le="0.002") == 1


def test_a_rejected_configuration_leaves_the_time_of_the_last_good_one() -> None:
    counters = Counters("1.0", 100.0)
    counters.config_rejected()
    text = counters.text().decode()
    assert value(text, "certvigil_config_last_reload_successful") == 0
    assert value(text, "certvigil_config_last_reload_success_timestamp_seconds") == 100.0
    counters.config_loaded(200.0)
    text = counters.text().decode()
    assert value(text, "certvigil_config_last_reload_successful") == 1
    assert value(text, "certvigil_config_last_reload_success_timestamp_seconds") == 200.0


def test_the_state_of_the_daemon_shows() -> None:
    counters = Counters("1.0", 1.0)
    counters.watching(notified=7, polled=2)
    counters.waivers(3)
    counters.config_stale(stale=True)
    counters.database_health_changed(DatabaseHealthChanged("the disk is full"))
    counters.overflowed()
    counters.host("web1")
    counters.host("web1.example.com")
    text = counters.text().decode()
    assert value(text, "certvigil_build_info", version="1.0") == 1
    assert value(text, "certvigil_host_info", host="web1.example.com") == 1
    assert 'host="web1"' not in text
    assert value(text, "certvigil_watched_directories", mode="inotify") == 7
    assert value(text, "certvigil_watched_directories", mode="polling") == 2
    assert value(text, "certvigil_waivers") == 3
    assert value(text, "certvigil_config_stale") == 1
    assert value(text, "certvigil_database_degraded") == 1
    assert value(text, "certvigil_event_queue_overflows_total") == 1


def test_what_was_told_is_counted_by_channel_from_nought_on() -> None:
    counters = Counters("1.0", 1.0)
    counters.notifications_pending({"ops": 2, "chat": 0})
    counters.notified("ops", DeliveryOutcome.FAILED)
    text = counters.text().decode()
    assert value(text, "certvigil_notifications_pending", channel="ops") == 2
    assert value(text, "certvigil_notifications_pending", channel="chat") == 0
    for outcome, count in ((DeliveryOutcome.FAILED, 1), (DeliveryOutcome.DELIVERED, 0), (DeliveryOutcome.DEAD, 0)):
        assert value(text, "certvigil_notifications_total", channel="ops", outcome=outcome) == count
    counters.notifications_pending({"chat": 1})
    assert 'certvigil_notifications_pending{channel="ops"}' not in counters.text().decode()


def test_nothing_but_what_prometheus_wants_is_exported() -> None:
    names = {name for name, _ in samples(Counters("1.0", 1.0).text().decode())}
    assert "process_resident_memory_bytes" in names
    assert not [name for name in names if name.endswith("_created")]


def test_requests_and_offers_that_wait_are_counted_with_the_age_of_the_oldest() -> None:
    counters = Counters("1.0", 1.0)
    counters.certificates({"web": (2, 50.0), "mail": (0, None)}, {"web": (1, 70.0)})
    text = counters.text().decode()
    assert value(text, "certvigil_requests_waiting", component="web") == 2
    assert value(text, "certvigil_requests_oldest_timestamp_seconds", component="web") == 50.0
    assert value(text, "certvigil_requests_waiting", component="mail") == 0
    assert value(text, "certvigil_offers_waiting", component="web") == 1
    assert value(text, "certvigil_offers_oldest_timestamp_seconds", component="web") == 70.0
    assert 'oldest_timestamp_seconds{component="mail"}' not in text
    counters.certificates({"web": (0, None)}, {"web": (0, None)})
    assert "oldest_timestamp_seconds{" not in counters.text().decode()

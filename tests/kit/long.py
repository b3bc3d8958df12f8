"""The tests that take longest, first: whoever has one left at the end of a run keeps all others waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

LONG: Final = frozenset(
    {
        "tests/actions/test_errors.py::test_an_error_at_any_step_ends_whole_and_says_what_is_on_disk",
        "tests/actions/test_late.py::test_who_is_killed_at_any_step_of_the_end_or_of_a_look_loses_nothing_and_leaves_nothing",
        "tests/actions/test_strace.py::test_a_call_that_fails_or_kills_ends_with_the_one_set_or_the_other_served",
        "tests/actions/test_remedial.py::test_killed_at_any_step_no_service_is_put_onto_the_dead_set",
        "tests/grafana/test_alerts.py::test_a_certificate_that_runs_out_is_told_and_told_to_be_replaced",
        "tests/grafana/test_expressions.py",
        "tests/grafana/test_other_dashboards.py::test_every_query_of_theirs_finds_something",
        "tests/grafana/test_rules.py::test_every_alert_fires_and_resolves_as_promtool_is_told",
        "tests/monitor/act/test_daemon_and_actor.py::test_an_activation_whose_cause_is_gone_is_not_offered_any_more",
        "tests/monitor/act/test_daemon_and_actor.py::test_an_actor_that_goes_away_is_missed_and_one_that_comes_back_is_met",
        "tests/monitor/act/test_daemon_and_actor.py::test_an_approval_that_is_waited_for_exits_by_how_it_ended",
        "tests/monitor/act/test_daemon_and_actor.py::test_where_another_tool_reverts_it_twice_it_stops_and_names_the_other_writer",
        "tests/monitor/act/test_orders.py::test_an_automatic_replacement_has_its_plan_made_twice_and_no_other_component_considered",
        "tests/monitor/actor/test_door.py::test_root_is_heard_while_a_stranger_and_the_daemon_s_user_flood_the_socket",
        "tests/monitor/actor/test_groups.py::test_a_group_with_a_frozen_member_is_left_alone_until_it_is_thawed_by_its_name",
        "tests/monitor/actor/test_groups.py::test_a_member_that_does_not_serve_the_new_certificate_undoes_all",
        "tests/monitor/actor/test_lies.py::test_a_service_that_does_not_live_with_the_new_certificate_is_brought_back_with_the_old",
        "tests/monitor/actor/test_under_load.py::test_nobody_ever_sees_anything_but_the_whole_old_or_the_whole_new_set",
        "tests/monitor/actor/test_lines.py::test_a_member_that_fails_undoes_chain_and_line_as_well",
        "tests/monitor/decide/test_policy_story.py::test_from_the_end_of_a_certificate_to_a_rollback_that_nobody_asked_for",
        "tests/monitor/decide/test_simulate.py::test_the_simulation_agrees_with_a_loop_that_asks_all_the_time",
        "tests/monitor/demo/test_procedures.py::test_every_procedure_on_an_appliance_does_what_it_should_and_touches_nothing_else",
        "tests/monitor/demo/test_demo.py::test_a_bad_replacement_passes_every_check_fails_live_and_is_undone_by_itself",
        "tests/monitor/demo/test_demo.py::test_without_nginx_nobody_says_that_nginx_is_reloaded",
        "tests/monitor/notify/test_notifier.py::test_hundreds_of_endpoints_that_are_dark_are_one_message",
        "tests/monitor/notify/test_replaced.py::test_however_a_peer_changes_its_certificates_messages_are_bounded",
        "tests/monitor/test_daemon.py::test_a_database_locked_from_the_start_is_caught_up_with",
        "tests/monitor/test_daemon.py::test_it_is_ready_once_every_endpoint_answered_or_had_its_time",
        "tests/monitor/test_rotation_story.py::test_a_new_root_comes_and_the_old_one_goes_and_every_wrong_order_is_refused",
        "tests/monitor/test_dialect.py::test_what_every_command_prints_as_json_is_as_its_published_schema_says",
    }
)
"""More than eight seconds each on two quiet processors, by `pytest --durations=80`.

A file stands for all of its tests, which stay together, since what they share takes long.
"""


def dealt(tests: Sequence[T], workers: int, identity: Callable[[T], str]) -> list[T]:
    """Return all tests, so that of the equal parts that workers begin with, half begin with a share of the long ones.

    Most of these wait for most of their time: the other workers keep the processors busy meanwhile.
    """
    long: dict[str, list[T]] = {}
    others: list[T] = []
    for each in tests:
        name = identity(each)
        path, test = name.partition("::")[0], name.partition("[")[0]
        if path in LONG or test in LONG:
            long.setdefault(path if path in LONG else name, []).append(each)
        else:
            others.append(each)
    found: list[T] = []
    waiting = max(1, workers // 2)
    for number in range(workers):
        groups = list(long.values())[number::waiting] if number < waiting else []
        share = [each for those in groups for each in those]
        end = max(0, len(tests) * (number + 1) // workers - len(found) - len(share))
        found += [*share, *others[:end]]
        del others[:end]
    return found

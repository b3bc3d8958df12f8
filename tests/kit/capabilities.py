"""The capabilities on a Nexthink V6 appliance, each by the tests that hold it; `make capabilities` runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pytest


class Capability(NamedTuple):
    """A row of the table."""

    id: str
    what: str
    tests: tuple[str, ...] = ()
    """Node ids, without parameters."""
    missing: str = "no test is named yet"
    """The part that no test holds; empty where the row is done."""

    @property
    def is_done(self) -> bool:
        """Whether tests hold the whole row, so that each of them must exist and pass."""
        return not self.missing


_GROUPS: Final = "tests/monitor/actor/test_groups.py"
_OWN_WAY: Final = f"{_GROUPS}::test_one_candidate_is_for_all_members_each_with_files_of_its_own_way"
_ALL_UNDONE: Final = f"{_GROUPS}::test_a_member_that_does_not_serve_the_new_certificate_undoes_all"
_NAMED_FILES: Final = f"{_GROUPS}::test_a_candidate_is_taken_from_the_files_of_the_article"
_TRUST: Final = "tests/monitor/commands/test_trust.py"
_VALIDATION: Final = "tests/monitor/actor/test_trust_validation.py"
_KEYSTORES: Final = "tests/probes/java/test_look.py"
_KILLED_REQUESTS: Final = "tests/monitor/actor/test_killed_requests.py"
_REQUESTS: Final = "tests/monitor/actor/test_requests.py"
_PROFILE: Final = "tests/config/test_profile.py"
_INVENTORY: Final = "tests/monitor/commands/test_inventory.py"
_ONE_LOOK: Final = "tests/monitor/state/test_look_once.py"
_EXPECTED: Final = "tests/probes/test_expected.py"
_GUIDE: Final = "tests/monitor/commands/test_guide.py"
_SAYS: Final = f"{_GUIDE}::test_the_last_commands_say_what_the_runbook_says"
_TOPICS: Final = "tests/monitor/guide/test_topics.py"
_KIT: Final = "tests/monitor/guide/test_kit.py"
_EXPORT: Final = "tests/monitor/commands/test_export.py"
_BY_HAND: Final = "tests/monitor/actor/test_by_hand.py"
_CANDIDATE: Final = "tests/actions/test_candidate.py"
_EDITED: Final = "tests/probes/line/test_edit.py"
_LOOKED_AT: Final = "tests/monitor/look/test_lines.py"
_LINES: Final = "tests/monitor/actor/test_lines.py"
_FIRST_CHAIN: Final = f"{_LINES}::test_a_first_chain_is_sent_and_the_last_one_taken_out_again"
_WALK: Final = (
    "tests/monitor/demo/test_procedures.py::"
    "test_every_procedure_on_an_appliance_does_what_it_should_and_touches_nothing_else"
)
_FOLDER: Final = "tests/monitor/actor/test_backup_folder.py"

CAPABILITIES: Final = (
    Capability(
        "N01",
        "every TLS endpoint is a target; UDP 999 is never probed",
        (
            f"{_PROFILE}::test_each_appliance_has_its_files_and_endpoints",
            f"{_PROFILE}::test_the_port_of_collectors_without_tcp_is_listed_and_no_target",
            f"{_INVENTORY}::test_a_port_without_tls_is_listed_and_gets_nothing",
        ),
        "",
    ),
    Capability(
        "N02",
        "an inventory as on the Web Console's own page",
        (
            f"{_INVENTORY}::test_each_component_has_what_is_installed_who_issued_it_its_names_and_its_validity",
            f"{_INVENTORY}::test_which_clients_accept_which_do_not_validate_and_which_stores_lack_the_root",
            f"{_INVENTORY}::test_the_daemon_says_the_same_as_the_command_itself",
            f"{_INVENTORY}::test_a_terminal_of_any_width_breaks_no_word",
        ),
        "",
    ),
    Capability(
        "N03",
        "a default certificate is found",
        (
            f"{_INVENTORY}::test_the_default_certificate_is_told_as_such_by_file_and_by_endpoint",
            f"{_EXPECTED}::TestADefaultCertificate::test_is_one_finding_instead_of_a_pile",
            f"{_EXPECTED}::TestADefaultCertificate::test_hides_nothing_else_that_is_wrong_with_it",
        ),
        "",
    ),
    Capability(
        "N04",
        "a default certificate on Collector port 443 is a finding",
        (
            f"{_INVENTORY}::test_the_default_certificate_is_told_as_such_by_file_and_by_endpoint",
            f"{_PROFILE}::test_an_own_certificate_is_mandatory_where_collectors_connect_to_port_443",
        ),
        "",
    ),
    Capability(
        "N05",
        "missing intermediates and wrong order are found, over several levels",
        (
            f"{_ONE_LOOK}::test_a_leaf_without_its_intermediates_is_found_at_each_server",
            f"{_ONE_LOOK}::test_intermediates_of_several_levels_are_whole_or_missed_or_in_the_wrong_order",
        ),
        "",
    ),
    Capability(
        "N06",
        "whether an endpoint sends its intermediates, and what each client then needs",
        (
            f"{_INVENTORY}::test_a_server_that_sends_no_intermediates_is_seen_to_and_each_client_what_it_needs",
            f"{_EXPECTED}::TestIntermediates::test_that_a_server_is_not_expected_to_send_are_what_a_client_lacks",
            f"{_EXPECTED}::TestIntermediates::test_that_it_is_expected_to_send_are_missed_although_each_client_holds_them",
            "tests/config/test_expected.py::test_whether_a_server_sends_its_intermediates_is_never_assumed",
        ),
        "",
    ),
    Capability(
        "N07",
        "the names that clients connect by, external and internal; a common name alone is a finding",
        (
            f"{_PROFILE}::test_an_appliance_is_looked_at_where_the_site_says_it_is",
            f"{_PROFILE}::test_the_portal_connects_by_the_external_name_unless_there_is_another",
            "tests/actions/test_rehearse.py::test_the_names_of_each_endpoint_and_client_count",
            "tests/probes/test_assess.py::test_a_common_name_alone_is_a_name_to_openssl_and_none_to_the_web_pki",
        ),
        "",
    ),
    Capability(
        "N08",
        "the same certificate or key on two appliances without the names of both",
        (
            f"{_ONE_LOOK}::test_one_key_on_two_appliances_is_found_unless_the_certificate_names_both",
            "tests/monitor/look/test_sharing.py::test_a_key_at_two_servers_is_told_of_both_and_no_more_once_one_has_another",
            f"{_EXPECTED}::TestASharedKey::test_is_meant_where_the_certificate_carries_the_names_of_both",
        ),
        "",
    ),
    Capability(
        "N09",
        "a client that holds the intermediates itself is judged with them",
        (
            "tests/probes/test_assess.py::test_a_client_that_holds_the_intermediate_accepts_an_incomplete_chain",
            "tests/actions/test_rehearse.py::test_a_client_that_holds_the_intermediate_itself_does_not_miss_it",
        ),
        "",
    ),
    Capability(
        "N10",
        "exposed keys, keys that do not match, weak keys and signatures",
        (
            f"{_ONE_LOOK}::test_a_key_that_others_may_read_and_one_of_another_certificate_are_found",
            f"{_ONE_LOOK}::test_a_weak_key_and_a_weak_signature_are_found_in_files_and_at_servers",
        ),
        "",
    ),
    Capability(
        "N11",
        "protocol and cipher against a list",
        (
            f"{_ONE_LOOK}::test_what_is_negotiated_is_compared_with_the_lists_of_the_site",
            f"{_EXPECTED}::TestWhatIsNegotiated::test_protects_nobody_whatever_the_site_allows",
            "tests/monitor/metrics/test_page.py::test_what_an_endpoint_negotiates_is_a_series_for_each_pair_and_whether_it_is_allowed",
        ),
        "",
    ),
    Capability(
        "N12",
        "the JDK keystore: entries, ends, default password",
        (
            f"{_TRUST}::test_stores_are_listed_without_java",
            f"{_PROFILE}::test_each_appliance_has_its_files_and_endpoints",
            f"{_KEYSTORES}::test_a_trust_store_is_read_with_its_aliases_and_opened_by_the_password_that_everybody_knows",
            f"{_KEYSTORES}::test_a_trust_store_is_judged_as_roots_and_not_as_a_chain",
            f"{_KEYSTORES}::test_the_default_password_of_a_package_s_trust_store_is_informational",
        ),
        "",
    ),
    Capability(
        "N13",
        "the Engine's bundle: entries, duplicates, expired anchors",
        (
            f"{_ONE_LOOK}::test_the_entries_of_the_engines_bundle_are_judged_by_their_names",
            f"{_INVENTORY}::test_a_trust_store_has_its_entries_and_the_entry_that_ends_first",
        ),
        "",
    ),
    Capability(
        "N14",
        "switches of portal.conf that turn validation off",
        (
            "tests/monitor/look/test_switch.py::test_a_change_of_the_file_changes_the_verdict",
            f"{_PROFILE}::test_the_portal_validates_as_its_own_configuration_says",
            f"{_EXPECTED}::TestASwitchOfValidation::test_is_as_the_file_says_and_else_as_shipped",
        ),
        "",
    ),
    Capability(
        "N15",
        "the configuration lines of a chain",
        (
            f"{_LOOKED_AT}::test_a_chain_and_the_lines_that_name_it_must_fit_together",
            f"{_LOOKED_AT}::test_the_finding_has_the_line_to_add",
            f"{_EDITED}::test_lighttpd_itself_reads_the_wanted_value_and_all_else_as_before",
            f"{_EDITED}::test_another_parser_of_xml_reads_the_wanted_value_and_all_else_as_before",
            f"{_PROFILE}::test_a_second_engine_has_a_configuration_and_a_unit_of_its_own",
        ),
        "",
    ),
    Capability(
        "N16",
        "the appliance's own backups, as sets",
        (
            f"{_FOLDER}::test_sets_of_the_folder_are_listed_beside_certvigil_s_own_by_date_and_component",
            f"{_FOLDER}::test_half_a_set_is_said_to_be_one_and_cannot_be_given_back",
        ),
        "",
    ),
    Capability(
        "N17",
        "an own root must reach every client store",
        (
            f"{_INVENTORY}::test_which_clients_accept_which_do_not_validate_and_which_stores_lack_the_root",
            "tests/monitor/actor/test_lacking_root.py::test_a_plan_names_the_stores_that_lack_the_root_of_its_candidate",
            f"{_EXPECTED}::TestARoot::test_tells_who_issued",
            "tests/monitor/test_rotation.py::test_the_steps_follow_from_the_facts",
            "tests/monitor/test_rotation_story.py::test_a_new_root_comes_and_the_old_one_goes_and_every_wrong_order_is_refused",
            "tests/monitor/test_rotation_story.py::test_status_says_how_far_a_declared_rotation_is",
        ),
        "",
    ),
    Capability(
        "N20",
        "requests for certificates: RSA and EC, a new key or the installed one, also with a CA of one's own",
        (
            f"{_REQUESTS}::test_an_answer_is_served_with_the_key_that_was_made_for_its_request",
            f"{_REQUESTS}::test_an_answer_of_a_ca_of_ones_own_comes_into_the_inbox_as_it_is",
            f"{_REQUESTS}::test_an_answer_for_the_installed_key_is_new_and_has_the_names",
            "tests/monitor/commands/test_ca.py::test_its_certificate_for_a_request_is_served",
            f"{_REQUESTS}::test_each_of_several_requests_finds_its_own_answer",
            f"{_KILLED_REQUESTS}::test_a_kill_at_any_step_loses_no_key_and_leaves_none_to_be_read",
            "tests/monitor/actor/test_offers.py::test_an_offer_that_answers_a_request_is_carried_out_without_a_person",
        ),
        "",
    ),
    Capability(
        "N21",
        "inputs of every format are put right, and that is said",
        (
            f"{_CANDIDATE}::test_disorder_is_put_right_and_said",
            f"{_CANDIDATE}::test_any_distribution_over_files_makes_the_same_candidate",
            f"{_CANDIDATE}::test_keystores_of_indefinite_length_are_taken",
        ),
        "",
    ),
    Capability("N22", "inputs as the article names them", (_NAMED_FILES,), ""),
    Capability(
        "N23",
        "the private key never leaves its host; its mode is checked; an encrypted one is refused or opened",
        (
            "tests/monitor/test_hostile.py::test_no_trace_of_a_private_key_is_found_anywhere",
            "tests/actions/test_prepare.py::test_a_key_is_not_written_into_a_file_that_others_may_read",
            "tests/actions/test_candidate.py::TestAnEncryptedKey::test_needs_a_password",
            "tests/actions/test_candidate.py::TestAnEncryptedKey::test_is_opened_with_its_password",
        ),
        "",
    ),
    Capability("N30", "primary: one candidate replaces Web Console and Portal together", (_OWN_WAY, _ALL_UNDONE), ""),
    Capability("N31", "secondary: one candidate replaces Web Console and Engine together", (_OWN_WAY,), ""),
    Capability("N32", "single appliance: all three in one", (_OWN_WAY, _WALK), ""),
    Capability("N33", "different layouts in one transaction, with the lines of a chain", (_OWN_WAY, _FIRST_CHAIN), ""),
    Capability(
        "N34",
        "the appliance's services through systemctl; any command is configurable",
        (
            f"{_PROFILE}::test_an_appliance_is_one_group_whose_services_are_restarted_by_systemd",
            f"{_GROUPS}::test_the_profile_acts_on_a_primary_appliance_with_the_commands_of_the_site",
            f"{_PROFILE}::test_the_stores_of_portal_and_engine_are_changed_with_the_services_that_read_them",
        ),
        "",
    ),
    Capability(
        "N35",
        "a Collector's custom port: observe, replace or reset",
        (
            f"{_PROFILE}::test_an_appliance_is_looked_at_where_the_site_says_it_is",
            f"{_GUIDE}::test_the_certificate_of_a_custom_port_is_proven_before_and_after",
            f"{_TOPICS}::test_without_a_custom_port_nothing_is_said_about_it",
        ),
        "",
    ),
    Capability(
        "N36",
        "federate first; the Customer Key is never touched; the Collector's root field stays empty",
        (
            f"{_FOLDER}::test_a_customer_key_and_whatever_else_is_not_declared_is_never_touched",
            f"{_LINES}::test_what_must_be_done_before_the_first_replacement_is_said_until_there_was_one",
            f"{_PROFILE}::test_a_secondary_appliance_is_to_be_federated_before_its_first_replacement",
            f"{_BY_HAND}::test_nothing_but_the_declared_files_is_touched_and_so_no_customer_key",
            f"{_TOPICS}::test_federate_first_is_asked_of_a_secondary_appliance_alone",
            _SAYS,
        ),
        "",
    ),
    Capability(
        "N37",
        "shipped mode approve, and the web console's runbook beside it",
        (
            f"{_PROFILE}::test_an_appliance_is_one_group_whose_services_are_restarted_by_systemd",
            f"{_GROUPS}::test_the_profile_acts_on_a_primary_appliance_with_the_commands_of_the_site",
            f"{_BY_HAND}::test_a_plan_names_the_runbook_and_asks_a_secondary_appliance_whether_it_was_federated",
            f"{_TOPICS}::test_the_buttons_and_fields_are_those_of_the_vendor",
            _SAYS,
        ),
        "",
    ),
    Capability(
        "N40",
        "a replacement that fails, or loses a client, is undone by itself",
        (
            _ALL_UNDONE,
            f"{_GROUPS}::test_a_member_whose_test_fails_with_the_new_files_undoes_all",
            f"{_GROUPS}::test_the_daemon_has_a_group_replaced_and_what_got_worse_undone_as_one",
            "tests/actions/test_transaction.py::test_one_component_that_fails_undoes_all_of_them",
        ),
        "",
    ),
    Capability(
        "N41",
        "restore any backup set, ours or the appliance's own",
        (
            f"{_GROUPS}::test_what_was_replaced_as_one_is_rolled_back_and_reset_as_one",
            f"{_LINES}::test_what_was_before_the_first_chain_is_rolled_back_and_reset_to",
            f"{_FOLDER}::test_a_whole_set_is_given_back_with_its_lines_and_one_without_a_chain_without_them",
            f"{_FOLDER}::test_every_component_of_a_single_appliance_is_given_its_part_of_a_set",
        ),
        "",
    ),
    Capability(
        "N42",
        "reset to default",
        (
            f"{_GROUPS}::test_what_was_replaced_as_one_is_rolled_back_and_reset_as_one",
            f"{_GUIDE}::test_the_certificate_of_a_custom_port_is_proven_before_and_after",
            f"{_FOLDER}::test_the_default_is_the_first_set_of_the_folder_where_it_is_older_than_certvigil_s_own",
            f"{_FOLDER}::test_the_default_is_certvigil_s_own_where_the_folder_has_only_later_sets",
            f"{_LINES}::test_what_never_had_a_chain_is_rolled_back_and_reset_to",
            "tests/actions/test_prepare.py::test_the_certificate_of_an_installation_is_given_back_once_its_lost_clients_are_given_up",
            _WALK,
        ),
        "",
    ),
    Capability(
        "N50",
        "the Portal's keystore: import, removal, password",
        (
            f"{_TRUST}::test_a_root_is_imported_and_the_client_accepts",
            f"{_TRUST}::test_the_same_certificate_is_imported_once",
            f"{_TRUST}::test_an_alias_that_another_certificate_has_is_refused",
            f"{_TRUST}::test_a_removal_that_locks_a_client_out_must_name_it",
            f"{_TRUST}::test_the_password_is_changed_and_another_one_is_no_longer_the_default",
            f"{_TRUST}::test_the_service_is_started_again_whatever_fails",
            f"{_PROFILE}::test_the_stores_of_portal_and_engine_are_changed_with_the_services_that_read_them",
        ),
        "",
    ),
    Capability(
        "N51",
        "the Engine's bundle: the root is appended once",
        (
            f"{_TRUST}::test_the_bundle_of_the_engine_is_appended_to_once_and_given_back_byte_for_byte",
            "tests/actions/test_pem_bundle.py::test_a_certificate_is_appended_and_taken_out_again",
            f"{_PROFILE}::test_the_stores_of_portal_and_engine_are_changed_with_the_services_that_read_them",
        ),
        "",
    ),
    Capability(
        "N52",
        "the switches of portal.conf are set",
        (
            f"{_VALIDATION}::test_a_client_is_told_to_validate_by_its_name",
            f"{_VALIDATION}::test_validation_is_enforced_once_the_store_has_the_root_and_relaxed_again",
            "tests/probes/test_property_edit.py::test_a_key_is_set_and_every_other_byte_stays",
        ),
        "",
    ),
    Capability(
        "N53",
        "the root for Windows: PEM, DER, certutil, PowerShell, Group Policy, and the runbook",
        (
            f"{_KIT}::test_each_certificate_is_there_as_der_and_as_pem",
            f"{_KIT}::test_the_scripts_compare_the_hash_of_each_file_before_it_is_trusted",
            f"{_KIT}::test_a_name_stands_in_no_script_but_behind_a_comment",
            f"{_EXPORT}::test_a_kit_has_the_root_the_intermediates_of_a_component_and_the_runbook",
            _SAYS,
        ),
        "",
    ),
    Capability(
        "N54",
        "the root for macOS: a configuration profile for MDM, and the runbook",
        (
            f"{_KIT}::test_a_profile_has_the_documented_keys_and_each_certificate_in_der",
            f"{_KIT}::test_openssl_verifies_a_signed_profile_and_finds_it_unchanged",
            f"{_EXPORT}::test_a_profile_is_signed_by_the_given_key_and_the_key_is_nowhere",
            _SAYS,
        ),
        "",
    ),
    Capability(
        "N55",
        "changes of client stores are transactions",
        (
            "tests/actions/test_trust_kill_matrix.py::test_a_change_killed_at_any_step_is_finished_or_undone",
            f"{_TRUST}::test_a_keytool_that_fails_or_lies_changes_nothing",
            f"{_TRUST}::test_a_change_that_another_writer_makes_meanwhile_is_not_overwritten",
            f"{_TRUST}::test_the_service_is_started_again_whatever_fails",
            f"{_TRUST}::test_what_is_done_is_recorded_with_the_certificates",
        ),
        "",
    ),
)


@dataclass
class _Results:
    """The outcomes of the tests that ran, by node id without parameters."""

    outcomes: dict[str, set[str]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(report.nodeid.partition("[")[0], set()).add(report.outcome)


def result(capability: Capability, outcomes: Mapping[str, set[str]]) -> str:
    """Return `passed`, `failed`, or what is missing; a test that did not run, or was skipped, holds nothing."""
    found = [outcomes.get(each, set()) for each in capability.tests]
    if any("failed" in each for each in found):
        return "failed"
    if not all(each == {"passed"} for each in found):
        return "missing: a test did not run"
    return f"missing: {capability.missing}" if capability.missing else "passed"


def table(capabilities: Sequence[Capability], outcomes: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the lines of the table."""
    for each in capabilities:
        yield f"{each.id}  {result(each, outcomes):<10}  {each.what}"
        yield from (f"{'':5}{test}" for test in each.tests)


def main() -> int:
    """Run the tests of every row, and print the table; return 1 where a row that is done does not pass."""
    results = _Results()
    nodes = dict.fromkeys(test for each in CAPABILITIES for test in each.tests)
    pytest.main(["--all", *sys.argv[1:], *nodes], plugins=[results])
    sys.stdout.write("\n".join(table(CAPABILITIES, results.outcomes)) + "\n")
    passed = sum(result(each, results.outcomes) == "passed" for each in CAPABILITIES)
    sys.stdout.write(f"{passed} of {len(CAPABILITIES)} pass\n")
    return 0 if all(result(each, results.outcomes) == "passed" for each in CAPABILITIES if each.is_done) else 1


if __name__ == "__main__":
    sys.exit(main())

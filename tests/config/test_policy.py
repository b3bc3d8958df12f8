from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.catalogue import GROUP_MEMBERS
from config.channel import Channel
from config.load import load
from config.model import DAY, Config, Threshold, Thresholds
from config.policy import Activate, HasFinding, Policy, RemainingBelow, Replace, Rollback, days_left, share_of_lifetime
from config.shipped import shipped_policies
from config.show import show
from config.vocabulary import Code, Mode
from tests.kit.configuration import Loaded, Write
from tests.kit.examples import examples
from tests.kit.policies import policies


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(40))
@given(own=st.lists(policies(), max_size=4, unique_by=lambda policy: policy.name))
def test_any_policy_that_is_shown_loads_as_the_same(own: list[Policy], write: Write) -> None:
    names = {each.name for each in own}
    config = Config(
        policies=(*own, *(each for each in shipped_policies() if each.name not in names)),
        channels={"ops": Channel("ops", ("json://localhost",))},
    )
    found = load(write(show(config)), {})
    assert isinstance(found, Config), found
    assert found.policies == config.policies


def test_days_that_are_a_share_as_well_are_shown_as_days(loaded: Loaded, write: Write) -> None:
    config = loaded("policies: [{name: p, when: {remaining_below: 60d}, do: [rollback]}]")
    found = load(write(show(config)), {})
    assert isinstance(found, Config)
    assert found.policies == config.policies


def test_shipped_policies_come_last_and_give_way_to_one_of_their_name(loaded: Loaded) -> None:
    config = loaded("policies: [{name: replace-in-time, when: {finding: expired}, mode: observe, do: [replace]}]")
    first, *others = config.policies
    assert (first.name, first.mode) == ("replace-in-time", Mode.OBSERVE)
    assert [each.name for each in others] == ["undo-regression", "serve-what-is-on-disk", "use-candidate"]


def test_what_is_shipped_gives_way_to_what_a_site_does_itself() -> None:
    assert all(each.fallback for each in shipped_policies())


def test_nothing_shipped_installs_unattended_unless_the_component_says_so() -> None:
    modes = {type(each.action): each.mode for each in shipped_policies()}
    assert modes == {Rollback: Mode.AUTO, Activate: None, Replace: None}


def test_a_share_alone_is_capped_as_the_default_thresholds_are() -> None:
    usual = Thresholds()
    assert [share_of_lifetime(each.share) for each in (usual.notice, usual.warning, usual.critical)] == [
        usual.notice,
        usual.warning,
        usual.critical,
    ]
    ten_years = 3650 * DAY
    left = [share_of_lifetime(share).seconds_left(ten_years) / DAY for share in (0.5, 0.33, 0.08, 0.05)]
    assert left == pytest.approx([60, 58.8, 8.96, 5.6])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1, 3650))
def test_a_smaller_share_is_never_reached_earlier(one: float, other: float, days: float) -> None:
    smaller, larger = sorted((one, other))
    seconds = [share_of_lifetime(share).seconds_left(days * DAY) for share in (smaller, larger)]
    assert seconds[0] <= seconds[1]


def test_days_alone_are_at_most_a_third_of_the_lifetime() -> None:
    assert days_left(21) == Threshold(1 / 3, 21)
    assert days_left(21).seconds_left(6 * DAY) == 2 * DAY


def test_a_group_is_every_code_of_it(loaded: Loaded) -> None:
    policy = loaded("policies: [{name: p, when: {group: tls, severity: warning}, do: [rollback]}]").policies[0]
    assert isinstance(policy.when, HasFinding)
    assert policy.when.codes == {Code.OBSOLETE_PROTOCOL, Code.WEAK_CIPHER}


def test_each_code_is_in_one_group() -> None:
    assert sorted(code for codes in GROUP_MEMBERS.values() for code in codes) == sorted(Code)


def test_both_share_and_days_are_taken_as_given(loaded: Loaded) -> None:
    policy = loaded(
        "policies: [{name: p, when: {remaining_below: {share: 50%, days: 90}, for: 1h}, do: [rollback]}]"
    ).policies[0]
    assert policy.when == RemainingBelow(Threshold(0.5, 90), 3600)


def test_unattended_replacement_is_allowed_where_each_matched_component_names_its_issuers(loaded: Loaded) -> None:
    config = loaded(
        """
        components:
          web: {artefacts: {combined: /a}, allowed_issuers: [{trust_store: system}]}
          mail: {artefacts: {combined: /b}}
        policies:
          - {name: p, match: {component: ["we*"]}, when: {finding: expired}, mode: auto, do: [replace]}
        """
    )
    assert config.policies[0].mode is Mode.AUTO


def test_how_long_a_candidate_must_last_is_said_by_the_policy_that_installs_it(loaded: Loaded) -> None:
    config = loaded(
        "policies: [{name: p, when: {candidate_present: true}, do: [{replace: {from: inbox, min_lifetime: 30d}}]}]"
    )
    assert config.policies[0].action == Replace((), 30 * DAY)
    assert loaded(show(config)).policies == config.policies

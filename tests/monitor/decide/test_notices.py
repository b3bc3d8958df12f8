"""What the channels of a policy that notifies are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from config.policy import Notify
from monitor.decide.check import Reason
from monitor.decide.decision import Decision, DecisionMade, DecisionStatus
from monitor.decide.notices import PolicyNotices
from monitor.notify.deliver import Tone


class Heard:
    """Stands for the notifier, which keeps each message for its channels."""

    def __init__(self) -> None:
        self.said: list[tuple[str, tuple[str, ...], str, Sequence[str], Tone]] = []

    def announce(
        self, name: str, channels: Iterable[str], title: str, sentences: Sequence[str], tone: Tone
    ) -> frozenset[str]:
        self.said.append((name, tuple(channels), title, sentences, tone))
        return frozenset()


def test_a_policy_that_notifies_says_where_to_see_what_will_be_done_and_that_its_end_is_not_told() -> None:
    heard = Heard()
    why = "a candidate is in the inbox"
    reasons = (Reason("candidate_present", holds=True, because=why),)
    decision = Decision("api", "api-now", Notify(("chat",)), DecisionStatus.NOTIFY, reasons, "c", "i")
    PolicyNotices(heard).decision_made(DecisionMade(decision))  # type: ignore[arg-type]
    assert heard.said == [
        (
            "i",
            ("chat",),
            "api: policy api-now holds",
            [
                why,
                "To see what will be done about it, and when: certvigil policy explain api",
                "This is told once, at its begin; its end is not told.",
            ],
            Tone.WARNING,
        )
    ]

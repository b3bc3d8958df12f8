"""When a certificate counts as expiring, as it is written."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, Self

from pydantic import ConfigDict, model_validator

from config import model
from config.fields import Days, Share, duration
from config.schema.section import Section, broken_rule

_THRESHOLDS: Final = model.Thresholds()


def _or_duration(schema: dict[str, Any]) -> None:
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [whole, {"type": "string", "description": "Days alone, as a duration such as 21d."}]


class Level(Section):
    """A point before the end of a lifetime; a duration such as `21d` stands for its days."""

    model_config = ConfigDict(json_schema_extra=_or_duration)

    share: Share | None = None
    """The share of the lifetime that is left, such as 33%."""
    days: Days | None = None
    """Never earlier than this many days before the end."""

    @model_validator(mode="before")
    @classmethod
    def _read_duration(cls, value: object) -> object:
        return {"days": duration(value) / model.DAY} if isinstance(value, str) else value

    def build(self, default: model.Threshold) -> model.Threshold:
        """Return the threshold; absent keys have the values of `default`."""
        return model.Threshold(
            default.share if self.share is None else self.share, default.days if self.days is None else self.days
        )


class ThresholdsSection(Section):
    """When a certificate counts as expiring. Each key has a default of its own."""

    notice: Level = Level()
    """By default 1/3 of the lifetime, at most 60 days."""
    warning: Level = Level()
    """By default 25%, at most 30 days."""
    critical: Level = Level()
    """By default 12.5%, at most 14 days."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        built = self.build()
        levels = {"notice": built.notice, "warning": built.warning, "critical": built.critical}
        for milder, worse in pairwise(levels):
            if levels[worse].share > levels[milder].share or levels[worse].days > levels[milder].days:
                raise broken_rule(
                    f"{worse} ({_threshold_text(levels[worse])}) comes before {milder} "
                    f"({_threshold_text(levels[milder])}), expected notice, then warning, then critical"
                )
        return self

    def build(self) -> model.Thresholds:
        """Return the three thresholds."""
        return model.Thresholds(
            self.notice.build(_THRESHOLDS.notice),
            self.warning.build(_THRESHOLDS.warning),
            self.critical.build(_THRESHOLDS.critical),
        )


def _threshold_text(threshold: model.Threshold) -> str:
    return f"{threshold.share * 100:.4g}%, {threshold.days:g} days"


def built(thresholds: ThresholdsSection | None) -> model.Thresholds | None:
    """Return the thresholds, if any key is given."""
    return thresholds.build() if thresholds is not None else None

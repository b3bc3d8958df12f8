"""What was measured, and what it is held against."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number of the issue's table."""

    name: str
    value: float
    unit: str
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the limit holds."""
        return self.value <= self.limit

    def line(self) -> str:
        """Return it as JSON on one line."""
        return json.dumps(
            {"name": self.name, "value": self.value, "unit": self.unit, "limit": self.limit, "ok": self.ok}
        )

"""Writes every dashboard as JSON: `python -m grafana.source` (`make dashboards`)."""

from __future__ import annotations

from pathlib import Path

from grafana.source.dashboards import DASHBOARDS, as_json

DIRECTORY = Path(__file__).parents[1] / "dashboards"


def main() -> None:
    """Write them."""
    for name, dashboard in DASHBOARDS.items():
        (DIRECTORY / f"{name}.json").write_text(as_json(dashboard()))


if __name__ == "__main__":
    main()

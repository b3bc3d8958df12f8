"""What is committed for Prometheus and Grafana, and every PromQL expression in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

GRAFANA: Final = Path(__file__).parents[2] / "grafana"
RULES: Final = GRAFANA / "rules" / "certvigil.yaml"
DASHBOARDS: Final = GRAFANA / "dashboards"

METRIC: Final = re.compile(r"\b(?:certvigil[_:][a-z0-9_:]+|process_[a-z_]+|scrape_[a-z_]+|up\b)")
"""The name of a metric in an expression without its strings."""

_LABEL_VALUES: Final = re.compile(r"label_values\((?P<expression>.*), (?P<label>[a-z0-9_]+)\)")
_QUERY_RESULT: Final = re.compile(r"query_result\((?P<expression>.*)\)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A PromQL expression, and where it stands."""

    where: str
    text: str
    label: str | None = None
    """A label that each series of it must have."""
    over_time: bool = False
    """Whether Grafana asks for it over a range of time, not as of now."""

    def with_values(self, values: Mapping[str, str]) -> str:
        """Return it as Grafana sends it, with these values for its variables."""
        return re.sub(r"\$(__\w+|\w+)", lambda match: values[match[1]], self.text)


def dashboards() -> dict[str, Any]:
    """Return each dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def rules() -> list[Any]:
    """Return every rule."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions_of_dashboards() -> Iterator[Expression]:
    """Yield those of panels, variables and annotations."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                where = f"{name}: {panel['title']}: {target['refId']}"
                yield Expression(where, target["expr"], over_time=bool(target["range"]))
        for annotation in dashboard["annotations"]["list"]:
            yield Expression(f"{name}: annotation {annotation['name']}", annotation["expr"])
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield _of_variable(f"{name}: variable {variable['name']}", variable["query"])


def expressions_of_rules() -> Iterator[Expression]:
    """Yield those of recording and of alerting rules."""
    for rule in rules():
        yield Expression(rule.get("alert") or rule["record"], rule["expr"])


def _of_variable(where: str, asked: str) -> Expression:
    match = _LABEL_VALUES.fullmatch(asked) or _QUERY_RESULT.fullmatch(asked)
    assert match is not None, f"{where}: {asked}"
    return Expression(where, match["expression"], match.groupdict().get("label"))

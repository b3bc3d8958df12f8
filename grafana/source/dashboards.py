"""All dashboards, by the name of their file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.source.certificate import certificate
from grafana.source.daemon import daemon
from grafana.source.inventory import inventory
from grafana.source.lifecycle import lifecycle
from grafana.source.overview import overview

DASHBOARDS: Final[Mapping[str, Callable[[], Dashboard]]] = MappingProxyType(
    {
        "overview": overview,
        "certificate": certificate,
        "inventory": inventory,
        "lifecycle": lifecycle,
        "daemon": daemon,
    }
)

ANNOTATION_FORMAT: Final = MappingProxyType(
    {
        "titleFormat": "{{component}}: {{action}} {{outcome}}",
        "textFormat": "{{instance}}",
        "tagKeys": "component,action,outcome",
        "useValueForTime": "on",
    }
)
"""The fields of Prometheus' plugin in an annotation; Grafana's schema leaves them to each plugin."""


def as_json(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana reads it."""
    document = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder))
    for number, panel in enumerate(document["panels"], 1):
        panel["id"] = number
    for annotation in document["annotations"]["list"]:
        annotation.update(ANNOTATION_FORMAT)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

"""The records of the actor as people read them: each with the facts that earlier ones have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from config.immutable import immutable


@immutable
class AuditEntry:
    """A record, with facts that only earlier records have."""

    record: Mapping[str, Any]
    kind: str
    components: tuple[str, ...]
    by: str
    """On whose behalf; empty where it is not recorded."""
    group: str
    """The group of which the components are; empty where they make none."""

    @property
    def at(self) -> float:
        """Unix time."""
        return float(self.record["at"])


def entries(records: Iterable[Mapping[str, Any]]) -> Iterator[AuditEntry]:
    """Yield each of `records`, oldest first, with the facts that earlier records have of its transaction or plan."""
    about: dict[str, AuditEntry] = {}
    for record in records:
        data = record["data"]
        names = [str(each) for each in (record["transaction"], data.get("hash"), data.get("candidate")) if each]
        before = next((about[each] for each in names if each in about), None)
        what = next((each for each in (data.get("plan"), data.get("action")) if isinstance(each, dict)), data)
        entry = AuditEntry(
            record,
            str(what.get("kind") or (before.kind if before else "")),
            tuple(map(str, what.get("components") or (before.components if before else ()))),
            str(data.get("by") or (before.by if before and record["transaction"] else "")),
            str(what.get("group") or data.get("group") or (before.group if before else "")),
        )
        about.update(dict.fromkeys(names, entry))
        yield entry

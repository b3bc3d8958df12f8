"""The page of clients and servers: which client accepts which endpoint, and why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from config.immutable import immutable
from config.model import Config
from config.vocabulary import Verdict
from monitor.http.console.table import Targets, chief, verdict_of
from probes.finding import Edge

SERVERS: Final = 200
"""Of a page; the others are found by the search."""


class CellWord(StrEnum):
    """What a client does at a server."""

    ACCEPTS = "accepts"
    REJECTS = "rejects"
    UNVALIDATED = "unvalidated"
    """It connects without validation."""
    NONE = "none"
    """It is not declared there, or nothing is known."""


@immutable
class ClientCell:
    """A client at a server."""

    client: str
    word: CellWord
    why: str


@immutable
class ServerRow:
    """An endpoint, with a cell for each client."""

    target: str
    component: str | None
    location: str
    verdict: Verdict
    sha256: str
    """Of its certificate; empty where none is known."""
    cells: tuple[ClientCell, ...]


@immutable
class MatrixPage:
    """All that the page shows."""

    q: str
    only: str
    """`rejects` for the servers alone that a client rejects."""
    clients: tuple[str, ...]
    about: Mapping[str, str]
    """What each client trusts."""
    rows: tuple[ServerRow, ...]
    total: int


def matrix_page(config: Config, targets: Targets, q: str, only: str) -> MatrixPage:
    """Return the page for the endpoints with `q` in name, location or component; those that a client rejects first."""
    text = q.casefold()
    edges: dict[str, Mapping[str, Edge]] = {}
    for name, endpoint in config.endpoints.items():
        state = targets.get(name)
        if state is None or text not in f"{name}\n{state.location}\n{endpoint.component or ''}".casefold():
            continue
        found = {each.client: each for each in state.edges}
        if only != CellWord.REJECTS or any(not each.accepted for each in found.values()):
            edges[name] = found
    named = {client for name in edges for client in (*config.endpoints[name].clients, *edges[name])}
    clients = [name for name in config.clients if name in named]
    ordered = sorted(edges, key=lambda name: (all(each.accepted for each in edges[name].values()), name))
    return MatrixPage(
        q=q,
        only=only,
        clients=tuple(clients),
        about={name: f"trusts {config.clients[name].trusts}, {config.clients[name].verifier}" for name in clients},
        rows=tuple(_row(name, targets, edges[name], clients) for name in ordered[:SERVERS]),
        total=len(ordered),
    )


def _row(name: str, targets: Targets, edges: Mapping[str, Edge], clients: Sequence[str]) -> ServerRow:
    state = targets[name]
    return ServerRow(
        target=name,
        component=state.component,
        location=state.location,
        verdict=verdict_of(state),
        sha256=chief(state.presented).sha256 if state.presented else "",
        cells=tuple(_cell(each, edges.get(each)) for each in clients),
    )


def _cell(client: str, edge: Edge | None) -> ClientCell:
    if edge is None:
        return ClientCell(client, CellWord.NONE, "")
    if not edge.accepted:
        return ClientCell(client, CellWord.REJECTS, edge.why or edge.unvalidated)
    if edge.unvalidated:
        return ClientCell(client, CellWord.UNVALIDATED, edge.unvalidated)
    return ClientCell(client, CellWord.ACCEPTS, "")

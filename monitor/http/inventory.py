"""The inventory, as the API answers it and `certvigil inventory --json` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from config.vocabulary import CertificateOrigin, Sending, Verdict
from monitor.http.answers import (
    API,
    Answer,
    CertificateAnswer,
    ClientAnswer,
    FailureAnswer,
    NegotiatedAnswer,
    NotLookedAt,
)
from monitor.http.view import DaemonView


class InstalledFile(Answer):
    """A file of a component."""

    target: str
    path: str
    verdict: Verdict
    failure: FailureAnswer | None
    """Why the last look gave no facts."""
    certificates: Sequence[str]
    """SHA-256 of each."""


class LackingRoot(Answer):
    """A trust store that lacks the root of a certificate."""

    trust_store: str
    root: str
    """The name of the root, or of the nearest issuer that is known."""
    clients: Sequence[str]
    """Those that do not accept it for that."""


class InventoryCertificate(Answer):
    """A server's certificate, and who issued it."""

    certificate: CertificateAnswer | None
    """Null where none is known."""
    chain: Sequence[CertificateAnswer]
    """The certificates beside it."""
    origin: CertificateOrigin | None
    root: CertificateAnswer | None
    """The root that it leads to, where that is at hand."""
    lacking_root: Sequence[LackingRoot]


class ServedAt(InventoryCertificate):
    """An endpoint: what it presents, and who accepts it."""

    target: str
    address: str
    server_name: str
    verdict: Verdict
    failure: FailureAnswer | None
    as_installed: bool | None
    """Whether it presents the certificate in the files of its component; null where that is not known."""
    sends_intermediates: bool | None
    """Null where it needs none, or nothing is known."""
    expected_to_send: Sending | None
    negotiated: Sequence[NegotiatedAnswer]
    clients: Sequence[ClientAnswer]


class InventoryComponent(InventoryCertificate):
    """A component: what is installed, and where it is served."""

    component: str
    group: str | None
    verdict: Verdict
    """The worst of its files and endpoints."""
    files: Sequence[InstalledFile]
    served: Sequence[ServedAt]


class EndOfEntry(Answer):
    """The end of an entry of a trust store."""

    at: datetime
    entry: str
    sha256: str


class InventoryStore(Answer):
    """A trust store, or a bundle or keystore with trusted certificates that a watch found."""

    trust_store: str | None
    """Its name; null where the configuration has none."""
    path: str
    clients: Sequence[str]
    """Those that trust it."""
    entries: int | None
    """Null where it cannot be read."""
    duplicates: int | None
    """Null where it is not watched as a file, too."""
    ended: Sequence[str]
    """The entries that have ended."""
    earliest_end: EndOfEntry | None
    next_end: EndOfEntry | None
    """The earliest that lies ahead."""


class InventoryAnswer(Answer):
    """The inventory."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")

    version: Literal[1] = Field(alias="schema")
    """Of the shape: another number is another shape."""
    host: str
    at: datetime
    components: Sequence[InventoryComponent]
    endpoints: Sequence[ServedAt]
    """Those of no component."""
    trust_stores: Sequence[InventoryStore]
    not_looked_at: Sequence[NotLookedAt]


def add_inventory(app: FastAPI, view: DaemonView) -> None:
    """Add the resource of the inventory."""

    @app.get(f"{API}/inventory", response_model=InventoryAnswer)
    async def inventory() -> Response:
        """Tell for each component what is installed and served, who issued it, and which clients accept it."""
        answer = InventoryAnswer.model_validate(await view.inventory())
        return Response(answer.model_dump_json(by_alias=True), media_type="application/json")

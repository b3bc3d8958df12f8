"""The rotation of a root, as the API answers it and `certvigil rotate --json` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from config.vocabulary import RotationDeed, StepProgress
from monitor.http.answers import API, Answer, CertificateAnswer
from monitor.http.view import DaemonView


class RotationStep(Answer):
    """A step of a root rotation."""

    deed: RotationDeed
    about: str
    """The trust store, or the component or group."""
    root: str
    """The SHA-256 of the root that comes or goes."""
    title: str
    """The name of that root."""
    progress: StepProgress
    reason: str
    """Why it is done, or what it waits for; of a next step, a remark or nothing."""
    commands: Sequence[str]
    """Those that do the next step."""
    guide: str | None
    """The topic of `certvigil guide` about it."""


class RotationAnswer(Answer):
    """The order of a root rotation, and how far it is."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")

    version: Literal[1] = Field(alias="schema")
    """Of the shape: another number is another shape."""
    host: str
    at: datetime
    new: CertificateAnswer | None
    """The new root; null where no rotation is declared, or its files cannot be read."""
    old: Sequence[CertificateAnswer]
    """The roots that are to go."""
    done: int
    """How many steps are done."""
    steps: Sequence[RotationStep]
    notes: Sequence[str]


def add_rotation(app: FastAPI, view: DaemonView) -> None:
    """Add the resource of the declared rotation."""

    @app.get(f"{API}/rotation", response_model=RotationAnswer)
    async def rotation() -> Response:
        """Tell the steps of the declared root rotation in their order, and how far each is."""
        answer = RotationAnswer.model_validate(await view.rotation())
        return Response(answer.model_dump_json(by_alias=True), media_type="application/json")

"""The part of the API that takes a person's word on a plan: for the bearer of a token, and over the Unix socket."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request

from config.vocabulary import Scope
from monitor.actor.request import Verb
from monitor.http.answers import API, Answer
from monitor.http.view import DaemonView

_Plan = Annotated[str, Path(pattern="^[0-9a-f]{8,64}$", description="The hash of a plan that waits, or how it begins.")]
_Why = Annotated[str, Query(max_length=300, description="For the record.")]


class RulingAnswer(Answer):
    """The actor's journal has the answers to plans."""

    plan: str
    """Its hash."""
    by: str
    """Who said it."""


def add_plans(app: FastAPI, view: DaemonView) -> None:
    """Add the part for approvals to `app`."""
    refused: dict[int | str, dict[str, Any]] = {
        403: {"description": "Neither over the Unix socket nor with a token for it."},
        409: {"description": "The actor does not take it; the detail says why."},
    }

    @app.post(f"{API}/plans/{{plan}}/approve", response_model=RulingAnswer, responses=refused)
    async def approve(request: Request, plan: _Plan) -> RulingAnswer:
        """Have a plan that waits carried out: exactly this one, for as long as approvals hold."""
        return await rule(request, Verb.APPROVE, plan, "")

    @app.post(f"{API}/plans/{{plan}}/reject", response_model=RulingAnswer, responses=refused)
    async def reject(request: Request, plan: _Plan, why: _Why = "") -> RulingAnswer:
        """Have a plan that waits not carried out, nor proposed again."""
        return await rule(request, Verb.REJECT, plan, why)

    async def rule(request: Request, verb: Verb, plan: str, why: str) -> RulingAnswer:
        by = _who(request)
        answer = await view.rule(verb, plan, by, why)
        if isinstance(answer, str):
            raise HTTPException(409, answer)
        return RulingAnswer(plan=answer["approved" if verb is Verb.APPROVE else "rejected"], by=by)


def _who(request: Request) -> str:
    """Return who says it; refuse whoever may not."""
    if request.state.peer is not None:
        return str(request.state.peer)
    token = request.state.token
    if token is None or Scope.APPROVE not in token.scopes:
        raise HTTPException(403, "this takes a token whose scopes have 'approve', or the Unix socket")
    return f"token {token.name}"

"""The worth of a component's set, key included, on disk or in a backup set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actions.artefact import presented_by
from actions.component_files import held_by, keystore_password
from actions.plan import Ill
from actions.soundness import faults_in, ill_of
from actions.validate import Worth
from actions.verdict import Old
from actions.world import World
from config.model import Component
from config.text import printable
from monitor.state.trust import TrustContext
from probes.judge.client import leaf_first


def worth_of(
    trust_context: TrustContext, world: World, given_up: Callable[[], frozenset[str]] = frozenset
) -> Callable[[tuple[str, ...], Mapping[str, bytes], float], Worth]:
    """Return a function for the worth of components' sets at a Unix time, if files, by path, held these bytes.

    `given_up` gives the SHA-256 of the public half of each key that may not be used again, hexadecimal. The answer is
    the least that one of the sets is worth.
    """

    def worth(components: tuple[str, ...], files: Mapping[str, bytes], now: float) -> Worth:
        barred = given_up()
        each = [_worth(trust_context.config.components[name], files, world, barred, now) for name in components]
        return max(each, key=lambda one: list(Old).index(one.old), default=Worth())

    return worth


def _worth(
    component: Component, files: Mapping[str, bytes], world: World, given_up: frozenset[str], now: float
) -> Worth:
    artefacts, name = component.artefacts, component.name
    held, password = held_by(artefacts, files, world), keystore_password(artefacts, world)
    chain = presented_by(held, password)
    if chain and leaf_first(chain)[0].public_key_sha256() in given_up:
        return Worth(Old.BARRED, f"the key of {name} was given up as compromised")
    faults = faults_in(artefacts, held, password, now)
    why = "; ".join(f"{printable(each.target)}: {each.detail}" for each in faults)
    match ill_of(faults):
        case Ill.DEAD:
            return Worth(Old.BARRED, f"no server starts with the files of {name}: {why}")
        case Ill.EXPIRED:
            return Worth(Old.SPENT, why)
        case _:
            return Worth()

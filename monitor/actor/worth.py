"""What a component's set is worth, key included, whether it lies on disk or in a backup set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from actions.artefact import presented_by
from actions.plan import Ill
from actions.prepare import read_password
from actions.soundness import faults_in, ill_of
from actions.validate import Worth
from actions.verdict import Old
from actions.world import World
from config.model import Component
from config.text import printable
from monitor.surroundings import Surroundings
from probes.judge.client import leaf_first

_WORTH: Final = {Ill.DEAD: Old.BARRED, Ill.EXPIRED: Old.SPENT}
"""What a set is worth of which that is the matter; what depends on the server counts as usable."""


def worth_of(
    surroundings: Surroundings, world: World, given_up: Callable[[], frozenset[str]] = frozenset
) -> Callable[[tuple[str, ...], Mapping[str, bytes], float], Worth]:
    """Return how to say what the sets of components are worth at a Unix time if files, by path, held these bytes.

    `given_up` gives the SHA-256 of the public half of each key that may not be used again, hexadecimal. The answer is
    the least that one of the sets is worth.
    """

    def worth(components: tuple[str, ...], files: Mapping[str, bytes], now: float) -> Worth:
        each = [_worth(surroundings.config.components[name], files, world, given_up(), now) for name in components]
        return max(each, key=lambda one: list(Old).index(one.old), default=Worth())

    return worth


def _worth(
    component: Component, files: Mapping[str, bytes], world: World, given_up: frozenset[str], now: float
) -> Worth:
    artefacts, name = component.artefacts, component.name
    held = {role: files.get(world.resolve(path)) for role, path in artefacts.files.items()}
    password = None if artefacts.password_file is None else read_password(artefacts.password_file, world)
    chain = presented_by({role: data or b"" for role, data in held.items()}, password)
    if chain and leaf_first(chain)[0].public_key_sha256() in given_up:
        return Worth(Old.BARRED, f"the key of {name} was given up as compromised")
    faults = faults_in(artefacts, held, password, now)
    ill = ill_of(faults)
    if ill in _WORTH:
        why = next(each for each in faults if each.certain or ill is not Ill.DEAD)
        return Worth(_WORTH[ill], f"{printable(why.target)}: {why.detail}")
    return Worth()

"""What a component's set is worth, key included, whether it lies on disk or in a backup set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actions.artefact import keys_in, presented_by
from actions.prepare import read_password
from actions.validate import Worth
from actions.verdict import Old
from actions.world import World
from config.model import Component
from config.text import printable
from config.vocabulary import FileRole
from monitor.surroundings import Surroundings
from probes.judge.client import leaf_first
from probes.lifetime import has_ended

_WITH_KEY = (FileRole.COMBINED, FileRole.KEYSTORE, FileRole.KEY)


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
    held = {role: files.get(world.resolve(path), b"") for role, path in artefacts.files.items()}
    password = None if artefacts.password_file is None else read_password(artefacts.password_file, world)
    chain = presented_by(held, password)
    if not chain:
        return Worth(Old.BARRED, f"the files of {name} hold no certificate that can be read")
    leaf = leaf_first(chain)[0]
    own = leaf.public_key_sha256()
    if own in given_up:
        return Worth(Old.BARRED, f"the key of {name} was given up as compromised")
    with_key = [role for role in _WITH_KEY if role in held]
    keys = [key for role in with_key for key in keys_in(held[role], password if role is FileRole.KEYSTORE else None)]
    # What is encrypted may be the right one.
    if with_key and None not in keys and own not in {key.public_sha256 for key in keys if key is not None}:
        return Worth(
            Old.BARRED, f"the files of {name} hold no private key of their certificate {printable(leaf.title)}"
        )
    if has_ended(leaf, now):
        return Worth(Old.SPENT, f"{printable(leaf.title)} has expired")
    return Worth()

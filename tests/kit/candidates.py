"""What tests of actions are about: a private CA, candidates of it, and the clients that must accept them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from actions.candidate import Candidate, PrivateKey
from config.model import Client, Endpoint
from config.text import Printable
from config.vocabulary import VerifierName
from monitor.lab.ca import Authority, Issued
from probes.certificate import Certificate, certificate
from probes.judge.client import View
from probes.observation import Presented
from probes.trust import Trust

NOW = float(int(time.time()))
ROOT = Authority.root("Root")
ISSUING = ROOT.intermediate("Issuing")
NAME = "www.example.com"
ENDPOINT = Endpoint("web", "127.0.0.1", 443, server_name=NAME, clients=("browser",))


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def made(leaf: Issued, *chain: Issued, root: Issued | None = None, key: Issued | None = None) -> Candidate:
    """Return a candidate as it is, whether or not it should be one."""
    return Candidate(
        value(leaf), tuple(map(value, chain)), PrivateKey((key or leaf).key), None if root is None else value(root)
    )


def good(*names: str, **knobs: object) -> Candidate:
    """Return a candidate that there is nothing against, unless a knob says otherwise."""
    return made(ISSUING.issue(*(names or (NAME,)), **knobs), ISSUING)  # type: ignore[arg-type]


def view(*anchors: Issued, name: str = "browser", **more: object) -> View:
    client = Client(name, f"{name}'s store", VerifierName.OPENSSL)
    return View(replace(client, **more), Trust(client.trusts, tuple(map(value, anchors))))  # type: ignore[arg-type]


def presented(chain: Sequence[Issued]) -> tuple[Presented, ...]:
    return (Presented(Printable("127.0.0.1"), tuple(map(value, chain)), "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519"),)

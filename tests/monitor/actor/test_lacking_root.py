"""A plan names the trust stores that lack the root of its candidate, with those who would not accept it."""

from __future__ import annotations

import hashlib

import pytest

from monitor.lab.ca import Authority
from monitor.lab.servers import replace_file
from tests.kit.appliance import appliance
from tests.kit.authority import NAME, ROOT

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]


def test_a_plan_names_the_stores_that_lack_the_root_of_its_candidate() -> None:
    own = Authority.root("A new root of the site")
    issuing = own.intermediate("A new issuing CA")
    with appliance("secondary") as machine:
        for name, roots in (("both", (ROOT, own)), ("old", (ROOT,))):
            replace_file(f"{machine.directory}/{name}.pem", b"".join(each.pem() for each in roots))
        browser = {"trusts": "outsiders"}
        stores = {
            "outsiders": {"bundle": f"{machine.directory}/both.pem"},
            "jdk": {"bundle": f"{machine.directory}/old.pem"},
        }
        both = {name: {"clients": ["browser", "portal"]} for name in machine.servers}
        believing = {"browser": browser, "portal": {"trusts": "jdk", "validates": False}}
        machine.configure(both, clients=believing, trust_stores=stores)
        title, sha256 = own.certificate.subject.rfc4514_string(), hashlib.sha256(own.der()).hexdigest()
        lacks = f"the trust store jdk lacks {title} (sha256 {sha256}), so portal would not accept it"
        code, said = machine.command("replace", "secondary", "--from", machine.given(issuing.issue(NAME)), "--dry-run")
        assert code == 0, said
        assert f"note       {lacks}" in said
        # As soon as the Portal validates, that is a reason to refuse it, and still said.
        machine.configure(both, clients={"browser": browser, "portal": {"trusts": "jdk"}}, trust_stores=stores)
        code, said = machine.command("replace", "secondary", "--from", machine.given(issuing.issue(NAME)), "--dry-run")
        assert code == 1
        assert "refused    client_lost: " in said
        assert f"note       {lacks}" in said
        # Nobody lacks the root of the certificate in use.
        code, said = machine.command("replace", "secondary", "--from", machine.given(machine.old), "--dry-run")
        assert "lacks" not in said

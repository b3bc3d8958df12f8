"""Certificates in YAML and JSON: kubeconfigs by their content, and anything else at places that a watch names."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.candidate import Given, NoCandidate, holds_key, read_candidates
from config.model import FileTarget, PemBundle, TrustStore, Watch
from config.vocabulary import Code, EntryKind, FileFormat, FileRole, UnreadableReason
from monitor.lab.ca import Authority
from probes.assess import FileContext, assess_file
from probes.container.blocks import NOTHING
from probes.container.document import LARGEST, MOST_NODES, is_kubeconfig
from probes.container.registry import open_container, open_places, open_unsealed
from probes.file import look_at_file
from probes.find import find
from probes.observation import FileObservation
from probes.trust import Trust, read_trust
from tests.kit.authority import ISSUING, ROOT
from tests.kit.examples import examples
from tests.kit.keystore import keystore

NOW = time.time()
ADMIN = ISSUING.issue("admin", not_before=NOW - 80 * 86_400, not_after=NOW + 2 * 86_400)
CARETAKER = ISSUING.issue("caretaker")


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def kubeconfig() -> dict[str, object]:
    def user(name: str, chain: bytes, key: bytes) -> dict[str, object]:
        return {"name": name, "user": {"client-certificate-data": base64(chain), "client-key-data": base64(key)}}

    cluster = {"server": "https://192.0.2.1:6443", "certificate-authority-data": base64(ROOT.pem())}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "prod", "cluster": cluster}],
        "users": [
            user("caretaker", CARETAKER.chain_pem(), CARETAKER.key_pem()),
            user("admin", ADMIN.pem(), ADMIN.key_pem()),
            {"name": "by-token", "user": {"token": "secret-token"}},
        ],
    }


def look(directory: Path, data: bytes, *pointers: str, role: FileRole = FileRole.LISTED) -> FileObservation:
    path = directory / "any.name"
    path.write_bytes(data)
    return look_at_file(FileTarget("document", str(path), role, pointers=pointers), NOW, with_keys=True)


WRITTEN = {
    "YAML": yaml.safe_dump(kubeconfig()).encode(),
    "YAML of Windows": b"\xef\xbb\xbf" + yaml.safe_dump(kubeconfig()).replace("\n", "\r\n").encode(),
    "YAML, as it was written": yaml.safe_dump(kubeconfig(), sort_keys=False).encode(),
    "JSON": json.dumps(kubeconfig(), indent=4).encode(),
    "JSON in one line": json.dumps(kubeconfig()).encode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_kubeconfig_is_known_by_its_content_and_its_entries_by_their_place(tmp_path: Path, form: str) -> None:
    seen = look(tmp_path, WRITTEN[form], role=FileRole.FOUND)
    assert (seen.failure, seen.format) == (None, FileFormat.KUBECONFIG)
    assert seen.keystore is not None
    assert [(each.kind, each.alias, [one.der for one in each.certificates]) for each in seen.keystore.entries] == [
        (EntryKind.TRUSTED, "/clusters/0/cluster/certificate-authority-data", [ROOT.der()]),
        (
            EntryKind.PRIVATE_KEY,
            "/users/0/user/client-certificate-data",
            [each.der() for each in CARETAKER.chain],
        ),
        (EntryKind.PRIVATE_KEY, "/users/1/user/client-certificate-data", [ADMIN.der()]),
    ]
    assert len(seen.keys) == 2


def test_each_certificate_in_it_is_judged_and_the_first_to_end_is_the_end(tmp_path: Path) -> None:
    seen = look(tmp_path, WRITTEN["YAML"], role=FileRole.FOUND)
    target = FileTarget("kubeconfig", "/root/.kube/config", FileRole.FOUND)
    assessment = assess_file(seen, FileContext(target), NOW)
    (found,) = (each for each in assessment.findings if each.code is Code.EXPIRING)
    assert (found.severity, found.subject) == ("critical", "position 2")
    assert found.detail.startswith("/users/1/user/client-certificate-data: ")
    assert assessment.expiry == seen.certificates[-1].not_after


def test_a_ca_that_stands_at_several_places_is_no_fault_and_one_that_has_ended_is_named_by_its_place(
    tmp_path: Path,
) -> None:
    """Two contexts of one cluster."""
    old = Authority.root("Old", not_before=1.0e9, not_after=1.1e9)
    places = {"one": base64(ROOT.pem()), "two": base64(ROOT.pem()), "old": base64(old.pem())}
    seen = look(tmp_path, json.dumps(places).encode(), "/*")
    findings = assess_file(seen, FileContext(FileTarget("document", "/a", FileRole.LISTED)), NOW).findings
    assert [(each.code, each.severity) for each in findings] == [(Code.EXPIRED, "notice")]
    assert findings[0].detail.startswith("/old: CN=Old ended at ")


def test_as_a_trust_store_it_holds_the_cas_of_its_clusters_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.conf"
    path.write_bytes(WRITTEN["YAML"])
    path.chmod(0o600)
    trust = read_trust(TrustStore("prod", PemBundle(str(path))))
    assert isinstance(trust, Trust)
    assert [each.der for each in trust.anchors] == [ROOT.der()]


@pytest.mark.parametrize("role", [FileRole.CERTIFICATE, FileRole.KEY, FileRole.CHAIN, FileRole.COMBINED])
def test_no_component_has_a_kubeconfig_and_no_candidate_is_in_one(tmp_path: Path, role: FileRole) -> None:
    failure = look(tmp_path, WRITTEN["YAML"], role=role).failure
    assert failure is not None
    assert failure.detail == "it is a kubeconfig, which no TLS server reads"
    none = read_candidates([Given("config", WRITTEN["YAML"])])
    assert isinstance(none, NoCandidate)
    assert none.detail.startswith("there is no certificate in config")


SETTINGS = {
    "tls": {"certificate": CARETAKER.chain_pem().decode(), "key": CARETAKER.key_pem().decode()},
    "authorities": [{"ca": base64(ROOT.der())}, {"ca": base64(ROOT.pem())}, {"none": 1}],
    "a/b": {"~": base64(keystore(CARETAKER, None))},
    "empty": "",
    "number": 7,
    "path": "/etc/ssl/site.crt",
}


@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps], ids=["YAML", "JSON"])
@pytest.mark.parametrize(
    ("pointer", "places", "count"),
    [
        ("/tls/certificate", ["/tls/certificate"], 2),
        ("/authorities/1/ca", ["/authorities/1/ca"], 1),
        ("/authorities/*/ca", ["/authorities/0/ca", "/authorities/1/ca"], 1),
        ("/*/certificate", ["/tls/certificate"], 2),
        ("/a~1b/~0", ["/a~1b/~0 site"], 2),
        ("/empty", [], 0),
        ("/nowhere/at/all", [], 0),
    ],
)
def test_a_pointer_leads_to_pem_and_base64_of_any_format(
    tmp_path: Path, write: object, pointer: str, places: list[str], count: int
) -> None:
    data = write(SETTINGS).encode()  # type: ignore[operator]
    seen = look(tmp_path, data, pointer)
    assert seen.failure is None
    assert [each.alias for each in seen.keystore.entries] == places if seen.keystore else places == []
    assert len(seen.certificates) == count


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + each)}: &{chr(98 + each)} [{','.join(['*' + chr(97 + each)] * 10)}]\n" for each in range(8)
)


@pytest.mark.parametrize(
    ("data", "pointer", "reason", "detail"),
    [
        (json.dumps(SETTINGS), "/number", UnreadableReason.BAD_DOCUMENT, "at /number: it is no text"),
        (json.dumps(SETTINGS), "/path", UnreadableReason.BAD_DOCUMENT, "at /path: it is neither PEM nor base64"),
        (
            json.dumps({"x": base64(b"hello, world")}),
            "/x",
            UnreadableReason.BAD_DOCUMENT,
            "at /x: what it holds in base64 is neither a certificate nor a key",
        ),
        (
            json.dumps({"x": CARETAKER.pem().decode()[:200]}),
            "/x",
            UnreadableReason.BAD_PEM,
            "at /x: the PEM block at line 1 cannot be decoded: END CERTIFICATE is missing",
        ),
        (
            CARETAKER.pem().decode(),
            "/x",
            UnreadableReason.BAD_DOCUMENT,
            "it is no YAML and no JSON that can be read: line 1: found '-----BEGIN CERTIFICATE-----",
        ),
        (
            "a: [",
            "/a",
            UnreadableReason.BAD_DOCUMENT,
            "it is no YAML and no JSON that can be read: line 2: found no value, expected one",
        ),
        (
            BOMB,
            "/i",
            UnreadableReason.BAD_DOCUMENT,
            "it is no YAML and no JSON that can be read: line 5: '*d' makes it too much, expected aliases for at most",
        ),
        (
            '{"a": ' * 40 + "1" + "}" * 40,
            "/a",
            UnreadableReason.BAD_DOCUMENT,
            "it is no YAML and no JSON that can be read: line 1: nested too deeply, expected at most 32 levels",
        ),
        (
            "#" * (LARGEST + 1),
            "/a",
            UnreadableReason.TOO_LARGE,
            f"it is a document of more than {LARGEST} bytes, which is not looked into",
        ),
        (
            json.dumps({"a": [""] * 1_001}),
            "/a/*",
            UnreadableReason.TOO_LARGE,
            "more than 1000 texts in it are to be looked at",
        ),
    ],
)
def test_what_cannot_be_read_there_says_where_and_why(
    tmp_path: Path, data: str, pointer: str, reason: UnreadableReason, detail: str
) -> None:
    failure = look(tmp_path, data.encode(), pointer).failure
    assert failure is not None
    assert failure.reason is reason
    assert failure.detail.startswith(detail)


def test_content_that_is_larger_than_a_document_is_no_kubeconfig() -> None:
    written = json.dumps(kubeconfig(), indent=1).encode()
    assert is_kubeconfig(written + b" " * (LARGEST - len(written)))
    assert not is_kubeconfig(written + b" " * (LARGEST - len(written) + 1))


LIKE_KUBECONFIGS = {
    "deep lists": '"a": ' + "[" * 29 + "[]," * 330_000 + "]" * 29,
    "numbers": '"a": [' + "1," * 520_000 + "]",
    "one key again and again": "b: 1, " * 170_000,
    "an alias for much": f"a: &a [{'1,' * 15_000}], b: [*a, *a]",
}


@pytest.mark.parametrize("name", LIKE_KUBECONFIGS)
def test_a_document_of_too_many_values_is_refused_before_it_takes_long(name: str) -> None:
    data = f'{{"kind": "Config", "clusters": [],\n{LIKE_KUBECONFIGS[name]}}}'.encode()
    assert is_kubeconfig(data)
    began = time.process_time()
    read = open_container(data)
    assert time.process_time() - began < 2
    (fault,) = read.blocks.faults
    assert "line 2" in fault.detail
    assert f"expected at most {MOST_NODES}" in fault.detail or f"for at most {MOST_NODES} values" in fault.detail


def test_where_no_certificate_of_a_kubeconfig_is_used_it_is_not_read() -> None:
    assert open_unsealed(WRITTEN["YAML"]) == NOTHING
    assert holds_key(Given("config", WRITTEN["YAML"]))
    long = b'kind: Config\nclusters: [],\n"a": ' + b"[" * 29 + b"[]," * 18_000 + b"]" * 29
    began = time.process_time()
    assert isinstance(read_candidates([Given(f"{each}", long) for each in range(16)]), NoCandidate)
    assert time.process_time() - began < 0.5


def test_a_watch_gives_its_pointers_to_each_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    (only,) = find((Watch((f"{tmp_path}/*.yaml",), pointers=("/tls/*",)),)).targets
    assert only.pointers == ("/tls/*",)


@settings(max_examples=examples(80), deadline=None)
@given(st.sampled_from(sorted(WRITTEN)), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3))))
def test_no_damage_to_a_document_raises(form: str, changes: list[tuple[int, bytes]]) -> None:
    data = WRITTEN[form]
    for at, new in changes:
        data = data[:at] + new + data[at + 1 :]
    open_container(data)
    open_places(data, ("/users/*/user/*", "/*"))


@given(st.text(max_size=300), st.sampled_from(["/a", "/*/*", "/0", "//"]))
def test_no_text_makes_a_look_at_its_places_raise(text: str, pointer: str) -> None:
    open_places(text.encode(errors="surrogatepass"), (pointer,))

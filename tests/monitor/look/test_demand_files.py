"""`/probe?module=file` reads what the configuration lets it read, and tells nothing of other files."""

from __future__ import annotations

import json
from base64 import encodebytes
from dataclasses import replace
from pathlib import Path

import pytest

from config.model import Config, FileTarget, Settings, Watch
from config.vocabulary import FileRole
from monitor.lab.ca import Authority
from monitor.look.demand_places import RefusedProbe
from monitor.metrics.probed import ProbedFiles
from monitor.state.trust import TrustContext
from probes.container.document import LARGEST
from tests.kit.metrics import samples, value
from tests.kit.probe_requests import Surround, probe, refused, trust_context_of

NOT_ALLOWED = "neither a watch nor probe.files has such files"


@pytest.fixture
def surround(tmp_path: Path, root_ca: Authority) -> Surround:
    return trust_context_of(tmp_path, root_ca)


def reading(trust_context: TrustContext, config: Config) -> TrustContext:
    ours = trust_context.config
    return replace(
        trust_context, config=replace(ours, watches=config.watches, files=config.files, settings=config.settings)
    )


def found(trust_context: TrustContext, target: str) -> ProbedFiles:
    answer = probe(trust_context, target, "file")
    assert isinstance(answer, ProbedFiles), answer
    return answer


def entries(page: str) -> list[dict[str, str]]:
    """Return the labels of each certificate of a kubeconfig."""
    return [dict(labels) for name, labels in samples(page) if name == "ssl_kubeconfig_cert_not_after"]


def test_files_are_told_as_ssl_exporter_does(surround: Surround, root_ca: Authority, tmp_path: Path) -> None:
    leaf = root_ca.issue("www.example.com", serial=255)
    path = tmp_path / "tls" / "site.crt"
    path.parent.mkdir()
    path.write_bytes(leaf.pem() + root_ca.pem())
    (tmp_path / "tls" / "notes.txt").write_text("no certificate")
    pattern = f"{tmp_path}/tls/*.crt"
    watching = reading(surround(), Config(watches=(Watch((pattern,)),)))
    for target in (pattern, str(path), str(path.parent)):
        page = found(watching, target).text().decode()
        assert value(page, "ssl_probe_success") == 1
        assert value(page, "ssl_prober", prober="file") == 1
        labels = {"file": str(path), "serial_no": "255", "cn": "www.example.com", "dnsnames": ",www.example.com,"}
        assert value(page, "ssl_file_cert_not_after", **labels) is not None
        assert value(page, "ssl_file_cert_not_before", **labels) is not None
        assert sum(name == "ssl_file_cert_not_after" for name, _ in samples(page)) == 2


def test_no_other_file_is_read_nor_told_whether_it_is_there(
    surround: Surround, root_ca: Authority, tmp_path: Path
) -> None:
    for name in ("seen.crt", "secret.pem", "excluded.crt"):
        (tmp_path / name).write_bytes(root_ca.pem())
    watch = Watch((f"{tmp_path}/*.crt",), exclude=(f"{tmp_path}/excluded.crt",))
    key = FileTarget("web/key", str(tmp_path / "secret.pem"), FileRole.KEY, "web")
    watching = reading(surround(), Config(watches=(watch,), files=(key,)))
    for target in (
        f"{tmp_path}/secret.pem",
        f"{tmp_path}/nothing.pem",
        f"{tmp_path}/excluded.crt",
        f"{tmp_path}/*",
        "/**/*.crt",
        f"{tmp_path}/x/../secret.pem",
        "seen.crt",
        f"{tmp_path}/seen.crt\0",
    ):
        assert refused(watching, target, "file") == NOT_ALLOWED, target
    allowed = reading(surround(), Config(settings=Settings(probe_files=(f"{tmp_path}/*.pem",))))
    assert found(allowed, f"{tmp_path}/secret.pem").accepted
    assert refused(allowed, f"{tmp_path}/seen.crt", "file") == NOT_ALLOWED


def test_a_damaged_file_is_no_success_and_others_are_told(
    surround: Surround, root_ca: Authority, tmp_path: Path
) -> None:
    (tmp_path / "a.crt").write_bytes(root_ca.pem())
    (tmp_path / "b.crt").write_bytes(root_ca.pem()[:100] + b"\n-----END CERTIFICATE-----\n")
    pattern = f"{tmp_path}/*.crt"
    answer = found(reading(surround(), Config(watches=(Watch((pattern,)),))), pattern)
    assert not answer.accepted
    assert value(answer.text().decode(), "ssl_file_cert_not_after", file=f"{tmp_path}/a.crt") is not None
    assert answer.log[0] == f"{tmp_path}/a.crt: 1 certificates"


def test_a_kubeconfig_is_told_as_ssl_exporter_does_and_names_no_file_that_may_not_be_read(
    surround: Surround, root_ca: Authority, tmp_path: Path
) -> None:
    user = root_ca.issue("admin")
    path = tmp_path / "kube" / "admin.conf"
    path.parent.mkdir()
    (path.parent / "user.pem").write_bytes(user.pem())
    (tmp_path / "secret.pem").write_bytes(user.pem())

    def written(client_certificate: str) -> None:
        # With line feeds, as some tools write it.
        encoded = json.dumps(encodebytes(root_ca.pem()).decode())
        path.write_text(
            f"""
            apiVersion: v1
            kind: Config
            clusters:
              - {{name: one, cluster: {{server: "https://one:6443", certificate-authority-data: {encoded}}}}}
            users:
              - {{name: admin, user: {{client-certificate: {client_certificate}}}}}
            """
        )

    watching = reading(surround(), Config(watches=(Watch((f"{tmp_path}/kube/*",)),)))

    def told() -> str:
        answer = probe(watching, str(path), "kubeconfig")
        assert isinstance(answer, ProbedFiles), answer
        return answer.text().decode()

    written("user.pem")
    page = told()
    assert value(page, "ssl_probe_success") == 1
    assert value(page, "ssl_prober", prober="kubeconfig") == 1
    told_of = {(each["name"], each["type"], each["cn"]) for each in entries(page)}
    assert told_of == {("one", "cluster", "Lab Root CA"), ("admin", "user", "admin")}
    assert {each["kubeconfig"] for each in entries(page)} == {str(path)}
    # As a pattern or a directory it would have many files read for each of its entries.
    for elsewhere in ("../secret.pem", "'*'", "."):
        written(elsewhere)
        page = told()
        assert value(page, "ssl_probe_success") == 0
        assert {each["name"] for each in entries(page)} == {"one"}
    assert refused(watching, f"{tmp_path}/secret.pem", "kubeconfig") == NOT_ALLOWED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"- a",
        b"clusters: {a: b}",
        b"clusters: [{name: a, cluster: {certificate-authority-data: '%%%'}}]",
        b"users: [{name: a, user: {client-certificate-data: YQ==}}, 1, {user: 2}]",
        b"a: &a [1]\nb: *c",
        b"\xff\xfe",
        b"x" * (LARGEST + 1),
    ],
)
def test_whatever_a_kubeconfig_holds_is_no_success_and_no_error(
    surround: Surround, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "kube.conf").write_bytes(data)
    watching = reading(surround(), Config(watches=(Watch((f"{tmp_path}/kube.conf",)),)))
    answer = probe(watching, f"{tmp_path}/kube.conf", "kubeconfig")
    assert isinstance(answer, RefusedProbe) or not answer.accepted

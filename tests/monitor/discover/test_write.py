"""What becomes a component that can be replaced, what is only watched, and what is never written; lineages; units."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from config.text import Printable
from config.vocabulary import EndpointProtocol, KeyKind, ServerSoftware
from monitor.discover.lineages import Lineage, LineageClient, lineage_of, lineages, trusted_stores
from monitor.discover.services import SERVES, FoundUnit, find_test, find_unit
from monitor.discover.survey import FoundPort, FoundSite, SeenAt, Survey, SurveyScope, survey
from monitor.discover.write import draft, text_of
from probes.certificate import certificate
from probes.listening import Holder, ListeningSocket, ProcessPlace
from probes.server_config.files import HostFiles
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ConfiguredSite
from tests.kit.authority import fresh

LEAF = certificate(fresh().der())
AT = SeenAt("127.0.0.1", 443, EndpointProtocol.TLS, proxy_protocol=False, server_name="www.example.com", key_type=None)
NGINX = ServerSoftware.NGINX


def site(path: str = "/etc/ssl/site", **other: object) -> FoundSite:
    files = CertificateFiles(f"{path}.crt", f"{path}.key")
    configured = ConfiguredSite(files, (ConfiguredListener("", 443),), (), "/etc/nginx/nginx.conf")
    found = FoundSite(
        NGINX, configured, LEAF, FoundUnit("nginx.service"), "/etc/nginx/nginx.conf", (AT,), place=ProcessPlace.SYSTEM
    )
    return replace(found, **other)  # type: ignore[arg-type]


def written(tmp_path: Path, *sites: FoundSite, ports: tuple[FoundPort, ...] = ()) -> tuple[Config, str]:
    drafted = draft(Survey(ports, sites, (), (), ()), HostFiles(str(tmp_path)))
    file = tmp_path / "certvigil.yaml"
    file.write_text(text_of(drafted))
    file.chmod(0o600)
    config = load(str(file), {})
    assert isinstance(config, Config), config
    return config, text_of(drafted)


def test_a_served_site_of_the_system_s_unit_can_be_replaced(tmp_path: Path) -> None:
    config, _ = written(tmp_path, site())
    service = config.components["nginx"].service
    assert service is not None
    assert (service.unit, service.reload) == ("nginx.service", ("/usr/bin/systemctl", "reload", "nginx.service"))
    assert service.activate == (SERVES[NGINX].activate if service.test else "restart")


LINEAGE = Lineage(LineageClient.CERTBOT, CertificateFiles("/etc/letsencrypt/live/a/fullchain.pem"), "/etc")


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (site(lineage=LINEAGE), "certbot renews it; its hook brings a new certificate to certvigil"),
        (site(untrusted=(Printable("/etc/nginx: belongs to user 33, expected root"),)), "belongs to user 33"),
        (site(unit=FoundUnit(None, Printable("the system has no unit for it"))), "the system has no unit for it"),
        (
            site(site=ConfiguredSite(CertificateFiles("/a.jks", "/a.jks", is_keystore=True), (), (), "/x")),
            "it is a keystore, whose password is not known",
        ),
        (site(place=ProcessPlace.UNKNOWN, unit=FoundUnit(None, Printable("not seen"))), "not seen"),
    ],
)
def test_what_certvigil_may_not_change_is_a_component_without_a_service(
    one: FoundSite, why: str, tmp_path: Path
) -> None:
    config, text = written(tmp_path, one)
    assert config.components["nginx"].service is None
    assert f"    # only watched: {why}" in text or why in text


@pytest.mark.parametrize("key", ["/secret/other.key", "/etc/ssl/site.crt"], ids=["apart", "combined"])
def test_no_key_is_written_that_others_than_root_could_have_named(key: str, tmp_path: Path) -> None:
    """Metrics would tell them whether the file is there, and whether it is the key of a certificate of theirs."""
    named = ConfiguredSite(CertificateFiles("/etc/ssl/site.crt", key, "/secret/chain"), (), (), "/x")
    doubtful = site(site=named, untrusted=(Printable("belongs to user 33"),), software=ServerSoftware.POSTGRESQL)
    own = ConfiguredSite(CertificateFiles("/own.crt", "/secret/other.key"), (), (), "/y")
    config, text = written(tmp_path, doubtful, site(site=own))
    assert [(each.component, each.path) for each in config.files] == [
        ("postgresql", "/etc/ssl/site.crt"),
        ("nginx", "/own.crt"),
        ("nginx", "/secret/other.key"),
    ]
    assert "neither its key nor its chain is written" in text


@pytest.mark.parametrize("place", [ProcessPlace.USER, ProcessPlace.ELSEWHERE])
def test_what_is_elsewhere_is_reported_and_never_written(place: ProcessPlace, tmp_path: Path) -> None:
    socket = ListeningSocket("127.0.0.1", 443, 0, 1)
    port = FoundPort(socket, Holder(place, 7), EndpointProtocol.TLS, leaf=LEAF)
    config, text = written(
        tmp_path, site(place=place, unit=FoundUnit(None, Printable("it is elsewhere"))), ports=(port,)
    )
    assert (config.components, config.endpoints, config.watches) == ({}, {}, ())
    assert "# Not written: /etc/ssl/site.crt of nginx: it is elsewhere\n" in text
    assert "# Not written: 127.0.0.1:443: a" in text


def test_nothing_is_told_of_a_closed_file_that_others_than_root_have_named(tmp_path: Path) -> None:
    """The text is the same whether the file is there or not: who may read it learns nothing."""
    doubt = (Printable("/etc/nginx: belongs to user 33, expected root"),)
    texts = []
    for there in (False, True):
        key = tmp_path / "secret" / "gone.key"
        key.parent.mkdir(exist_ok=True)
        if there:
            key.write_bytes(b"")
        leaf = LEAF if there else None
        named = replace(site().site, files=CertificateFiles("/etc/ssl/site.crt", str(key)))
        closed = site(str(tmp_path / "secret" / "other"), certificate=leaf, served_at=(), untrusted=doubt)
        closed = replace(closed, differs_at=(AT,) if there else ())
        texts.append(written(tmp_path, site(site=named, untrusted=doubt), closed)[1])
    assert texts[0] == texts[1]
    assert "gone.key" not in texts[0]


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")
def test_of_files_that_a_doubtful_configuration_names_the_certificate_alone_is_looked_at(tmp_path: Path) -> None:
    directory = tmp_path / "etc/postgresql/15/main"
    directory.mkdir(parents=True)
    key = tmp_path / "gone.key"
    (directory / "postgresql.conf").write_text(f"ssl = on\nssl_cert_file = '/c.crt'\nssl_key_file = '{key}'\n")
    give_away(directory / "postgresql.conf")
    told = []
    for there in (False, True):
        if there:
            key.write_bytes(b"")
            give_away(key)
        found = survey(SurveyScope(str(tmp_path), frozenset({1})), time.time())
        told.append([each.untrusted for each in found.sites])
    assert told[0] == told[1]
    assert told[0]


def test_a_file_is_in_one_component_and_names_do_not_clash(tmp_path: Path) -> None:
    config, text = written(tmp_path, site(), site(software=ServerSoftware.APACHE), site("/b"), site("/c"))
    assert list(config.components) == ["nginx", "nginx-www.example.com", "nginx-www.example.com-2"]
    assert "/etc/ssl/site.crt of apache: the component nginx has this file already" in text


def test_a_site_that_nobody_serves_is_watched_alone(tmp_path: Path) -> None:
    config, text = written(tmp_path, site(served_at=(), place=ProcessPlace.UNKNOWN))
    assert not config.components
    assert [each.patterns for each in config.watches] == [("/etc/ssl/site.crt",)]
    assert "/etc/ssl/site.crt of nginx is no component: no open port was seen to serve it" in text


@pytest.mark.parametrize("path", ["/etc/${HOME}", "/etc/a*", "/etc/a\nb: c", "/etc/\udc80"])
def test_a_hostile_path_is_never_written(path: str, tmp_path: Path) -> None:
    config, text = written(tmp_path, site(path))
    assert not config.components
    assert not config.watches
    assert text.splitlines()[-1].startswith("# Not written: ")


def test_every_way_of_serving_is_written_as_it_was_proved(tmp_path: Path) -> None:
    places = (
        AT._replace(key_type=KeyKind.EC),
        AT._replace(address="::1", port=25, protocol=EndpointProtocol.SMTP, proxy_protocol=True, server_name=None),
    )
    config, _ = written(tmp_path, site(served_at=places))
    one, other = config.endpoints.values()
    assert (one.key_type, one.server_name, one.protocol) == (KeyKind.EC, "www.example.com", EndpointProtocol.TLS)
    assert (other.host, other.port, other.protocol, other.proxy_protocol) == ("::1", 25, "smtp", "v1")


# Lineages


def test_the_lineages_of_every_client_are_found(tmp_path: Path) -> None:
    def put(path: str, text: str = "") -> str:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return str(file)

    put("etc/letsencrypt/live/README")
    put("etc/letsencrypt/live/a/fullchain.pem")
    put("root/.acme.sh/b.example_ecc/fullchain.cer")
    installed = str(tmp_path / "etc/nginx/b.crt")
    put(
        "root/.acme.sh/b.example_ecc/b.example.conf",
        f"Le_RealKeyPath='{tmp_path}/etc/nginx/b.key'\nLe_RealFullChainPath='{installed}'\n",
    )
    put("var/lib/lego/certificates/c.example.crt")
    put("var/lib/lego/certificates/c.example.issuer.crt")
    put("etc/step/certs/d.crt")
    put("etc/step/certs/d.key")
    put("etc/step/certs/root_ca.crt")
    put("var/lib/certmonger/requests/20261129", "id=1\nkey_file=/etc/e.key\ncert_file=/etc/e.crt\n")
    found = lineages(HostFiles(str(tmp_path)))
    assert [(each.client, each.files.certificate.removeprefix(str(tmp_path))) for each in found] == [
        ("certbot", "/etc/letsencrypt/live/a/fullchain.pem"),
        ("acme.sh", "/root/.acme.sh/b.example_ecc/fullchain.cer"),
        ("acme.sh", "/etc/nginx/b.crt"),
        ("lego", "/var/lib/lego/certificates/c.example.crt"),
        ("step", "/etc/step/certs/d.crt"),
        ("certmonger", "/etc/e.crt"),
    ]
    assert {each.client for each in found} == set(LineageClient)
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "etc/letsencrypt/live/a/fullchain.pem")
    for path in (str(link), f"{tmp_path}/etc/letsencrypt/live/a/cert.pem"):
        belongs = lineage_of(path, found)
        assert belongs is not None
        assert belongs.client is LineageClient.CERTBOT
    assert lineage_of(f"{tmp_path}/etc/nginx/other.pem", found) is None


def test_each_trusted_store_is_named_once_whatever_links_lead_to_it(tmp_path: Path) -> None:
    store = tmp_path / "etc/ssl/certs/java/cacerts"
    store.parent.mkdir(parents=True)
    store.touch()
    link = tmp_path / "usr/lib/jvm/java-17/lib/security/cacerts"
    link.parent.mkdir(parents=True)
    link.symlink_to(store)
    assert trusted_stores(HostFiles(str(tmp_path))) == [str(store)]


# Units and commands


def unit_in(tmp_path: Path, name: str) -> Path:
    file = tmp_path / "lib/systemd/system" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[Service]\n")
    return file


def let_others_write(path: Path) -> None:
    path.chmod(0o666)


def give_away(path: Path) -> None:
    os.chown(path, 65_534, -1)


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize("spoil", [let_others_write, give_away])
@pytest.mark.parametrize("which", ["nginx.service", "nginx.service.d/override.conf"])
def test_a_unit_counts_where_root_alone_can_change_it(
    which: str, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    files = HostFiles(str(tmp_path))
    assert find_unit(files, NGINX, None).name is None
    unit_in(tmp_path, "nginx.service")
    unit_in(tmp_path, which)
    assert find_unit(files, NGINX, None) == FoundUnit("nginx.service")
    spoil(tmp_path / "lib/systemd/system" / which)
    found = find_unit(files, NGINX, None)
    assert found.name is None
    assert found.why.startswith("others than root can change ")


@pytest.mark.parametrize(
    ("software", "told", "main", "name"),
    [
        (ServerSoftware.POSTGRESQL, None, "/etc/postgresql/15/main/postgresql.conf", "postgresql@15-main.service"),
        (ServerSoftware.STUNNEL, None, "/etc/stunnel/web.conf", "stunnel@web.service"),
        (ServerSoftware.POSTFIX, "postfix@-.service", "", "postfix@-.service"),
        (NGINX, "docker.service", "", None),
        (NGINX, "my-nginx.service", "", None),
    ],
)
def test_the_unit_that_the_kernel_tells_must_be_one_that_is_known(
    software: ServerSoftware, told: str | None, main: str, name: str | None, tmp_path: Path
) -> None:
    for each in ("postgresql@.service", "stunnel@.service", "postfix@.service", "docker.service", "my-nginx.service"):
        unit_in(tmp_path, each)
    assert find_unit(HostFiles(str(tmp_path)), software, told, main).name == name


def test_every_server_has_its_row_and_every_command_an_absolute_program() -> None:
    assert set(SERVES) == set(ServerSoftware)
    assert all(command[0].startswith("/") for each in SERVES.values() for command in each.tests)
    assert all(each.units and each.programs for each in SERVES.values())


@pytest.mark.server("haproxy")
def test_a_program_that_is_here_tests_the_configuration() -> None:
    assert find_test(HostFiles(), ServerSoftware.HAPROXY) == SERVES[ServerSoftware.HAPROXY].tests[0]
    assert find_test(HostFiles(), ServerSoftware.VSFTPD) is None

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.document import parse
from config.load import Marked, load, load_marked
from config.model import Config, PemBundle
from config.profile import expand, shipped
from config.show import show_marked
from config.vocabulary import FileRole, Mode, OwnCertificate, Sending
from probes.validation import SwitchReading, read_switch
from tests.kit.configuration import Loaded, Write

CONSOLE = {
    "console/combined": "/var/nexthink/console/etc/certificate.pem",
    "console/chain": "/var/nexthink/console/etc/intermediate.crt",
    "console/line": "/var/nexthink/console/etc/lighttpd-console.conf",
}
PORTAL = {
    "portal/certificate": "/var/nexthink/nxnginx/ssl/nginx.crt",
    "portal/key": "/var/nexthink/nxnginx/ssl/nginx.key",
}
ENGINE = {
    "engine/certificate": "/var/nexthink/engine/common/etc/certificate.pem",
    "engine/key": "/var/nexthink/engine/common/etc/key.pem",
    "engine/chain": "/var/nexthink/engine/common/etc/intermediate.crt",
    "engine/line": "/var/nexthink/engine/01/etc/nxengine.xml",
}
PORTAL_FOUND = ("/usr/java/default/jre/lib/security/cacert?",)
ENGINE_FOUND = ("/var/nexthink/engine/common/etc/ca-bundle.*",)


@pytest.mark.parametrize(
    ("role", "files", "ports", "found"),
    [
        ("primary", CONSOLE | PORTAL, {"console": [99], "portal": [443]}, PORTAL_FOUND),
        ("secondary", CONSOLE | ENGINE, {"console": [99], "engine": [443, 1671]}, ENGINE_FOUND),
        (
            "single",
            CONSOLE | PORTAL | ENGINE,
            {"console": [99], "portal": [443], "engine": [1671]},
            ENGINE_FOUND + PORTAL_FOUND,
        ),
    ],
)
def test_each_appliance_has_its_files_and_endpoints(
    role: str, files: dict[str, str], ports: dict[str, list[int]], found: tuple[str, ...], loaded: Loaded
) -> None:
    config = loaded(f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: nx.example.com}}")
    assert {file.name: file.path for file in config.files} == files
    assert {
        name: [config.endpoints[each].port for each in component.endpoints]
        for name, component in config.components.items()
    } == ports
    assert {(each.host, each.verified_name) for each in config.endpoints.values()} == {("127.0.0.1", "nx.example.com")}
    assert tuple(pattern for watch in config.watches for pattern in watch.patterns) == found


@pytest.mark.parametrize(
    ("role", "changeable"),
    [
        ("primary", {"portal-cacerts": "nxportal"}),
        ("secondary", {"engine-ca-bundle": "nxengine@1"}),
        ("single", {"portal-cacerts": "nxportal", "engine-ca-bundle": "nxengine@1"}),
    ],
)
def test_the_stores_of_portal_and_engine_are_changed_with_the_services_that_read_them(
    role: str, changeable: dict[str, str], loaded: Loaded
) -> None:
    config = loaded(f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: nx.example.com, root: /lab}}")
    stores = config.changeable_stores
    assert {name: each.service and each.service.unit for name, each in stores.items()} == changeable
    if "portal-cacerts" in stores:
        portal = stores["portal-cacerts"]
        assert portal.path == "/lab/usr/java/default/jre/lib/security/cacerts"
        assert portal.service is not None
        assert portal.service.quiesce
    if "engine-ca-bundle" in stores:
        assert stores["engine-ca-bundle"].path == "/lab/var/nexthink/engine/common/etc/ca-bundle.crt"
    if role != "primary":
        assert config.clients["portal"].trusts == "portal-cacerts"


def test_a_second_engine_has_a_configuration_and_a_unit_of_its_own(loaded: Loaded) -> None:
    given = "profile: nexthink-v6\nappliance: {role: secondary, external_name: nx.example.com"
    one, two = loaded(f"{given}}}").components["engine"], loaded(f"{given}, engines: two}}").components["engine"]
    assert one.service is not None
    assert two.service is not None
    assert (one.service.unit, two.service.restart[1:]) == ("nxengine@1", ("restart", "nxengine@1", "nxengine@2"))
    assert [each.file for each in two.artefacts.lines] == [
        f"/var/nexthink/engine/{number}/etc/nxengine.xml" for number in ("01", "02")
    ]
    assert {each.value for each in two.artefacts.lines} == {"/var/nexthink/engine/common/etc/intermediate.crt"}


def test_a_secondary_appliance_is_to_be_federated_before_its_first_replacement(loaded: Loaded) -> None:
    for role, reminds in (("secondary", True), ("single", False)):
        config = loaded(f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: nx.example.com}}")
        assert ("federate this secondary appliance" in (config.components["engine"].do_first or "")) is reminds


def test_an_appliance_is_looked_at_where_the_site_says_it_is(loaded: Loaded) -> None:
    config = loaded(
        """
        profile: nexthink-v6
        appliance:
          role: secondary
          external_name: engine.example.com
          internal_name: engine.corp.local
          finder_port: 999
          collector_ports: [8443, 8444]
          address: ::1
          root: /srv/lab/
        """
    )
    assert [name for name in config.endpoints if name.startswith("engine/")] == [
        "engine/[::1]:443",
        "engine/[::1]:1671",
        "engine/[::1]:999",
    ]
    assert config.endpoints["engine/[::1]:999"].clients == ("finder",)
    assert config.endpoints["collector-8443"].component is None
    assert config.endpoints["collector-8444"].port == 8444
    assert not config.clients["collector-custom"].validates
    assert config.clients["portal"].names == ("engine.corp.local",)
    assert all(file.path.startswith("/srv/lab/var/") for file in config.files)
    assert all(watch.patterns[0].startswith("/srv/lab/var/") for watch in config.watches)


@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_the_port_of_collectors_without_tcp_is_listed_and_no_target(role: str, loaded: Loaded) -> None:
    config = loaded(f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: nx.example.com}}")
    assert [(each.host, each.port) for each in config.not_tls] == ([] if role == "primary" else [("127.0.0.1", 999)])
    assert 999 not in {each.port for each in config.endpoints.values()}


@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_an_own_certificate_is_mandatory_where_collectors_connect_to_port_443(role: str, loaded: Loaded) -> None:
    site = f"{{role: {role}, external_name: nx.example.com, collector_ports: [8443]}}"
    config = loaded(f"profile: nexthink-v6\nappliance: {site}")
    expected = {99: OwnCertificate.EXPECTED, 1671: OwnCertificate.EXPECTED, 443: OwnCertificate.MANDATORY}
    for endpoint in config.endpoints.values():
        assert endpoint.default_certificate is not None
        assert endpoint.default_certificate.self_signed
        # On a custom port the default one, of the federation, is secure enough.
        assert endpoint.default_certificate.own is expected.get(endpoint.port, OwnCertificate.OPTIONAL)
        assert endpoint.sends_intermediates is None
    assert {each.default_certificate.own for each in config.files if each.default_certificate} == {
        OwnCertificate.EXPECTED
    }


def test_the_engine_of_an_old_version_is_not_expected_to_send_its_intermediates(loaded: Loaded) -> None:
    site = "{role: secondary, external_name: a.example.com, finder_port: 1999, engine_intermediates: not_expected}"
    config = loaded(f"profile: nexthink-v6\nappliance: {site}")
    said = {each.port: each.sends_intermediates for each in config.endpoints.values()}
    assert said == {99: None, 443: Sending.NOT_EXPECTED, 1671: Sending.NOT_EXPECTED, 1999: Sending.NOT_EXPECTED}


@pytest.mark.parametrize(
    ("written", "validates"),
    [("", (False, True)), ("=true", (False, True)), ("=false", (True, True)), ("=false\n{ldap}=true", (True, False))],
)
def test_the_portal_validates_as_its_own_configuration_says(
    written: str, validates: tuple[bool, bool], loaded: Loaded, tmp_path: Path
) -> None:
    engine = "globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems"
    ldap = "globalconfig.ldap.skip-ssl-certificate-validations"
    conf = tmp_path / "var/nexthink/portal/conf/portal.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(f"# as shipped\n{engine}{written.format(ldap=ldap)}\n" if written else "# as shipped\n")
    site = f"{{role: primary, external_name: nx.example.com, root: {tmp_path}}}"
    config = loaded(f"profile: nexthink-v6\nappliance: {site}")
    read = [read_switch(config.clients[name].validation_switch) for name in ("portal", "portal-ldap")]  # type: ignore[arg-type]
    assert tuple(isinstance(each, SwitchReading) and each.validates for each in read) == validates
    # The Portal is on another host than a secondary appliance: what is shipped is believed.
    secondary = loaded("profile: nexthink-v6\nappliance: {role: secondary, external_name: nx.example.com}")
    assert secondary.clients["portal"].validation_switch is None
    assert not secondary.clients["portal"].validates


def test_the_portal_connects_by_the_external_name_unless_there_is_another(loaded: Loaded) -> None:
    config = loaded("profile: nexthink-v6\nappliance: {role: single, external_name: nx.example.com}")
    assert config.clients["portal"].names == ("nx.example.com",)


def test_the_sites_own_document_adds_to_the_profile_and_wins(loaded: Loaded) -> None:
    config = loaded(
        """
        profile: nexthink-v6
        appliance: {role: primary, external_name: nx.example.com}
        trust_stores: {outsiders: {bundle: /etc/corporate-root.pem}}
        clients: {browser: {trusts: mozilla, verifier: webpki}}
        components:
          portal: {artefacts: {combined: /srv/portal.pem}, clients: [finder], endpoints: []}
        endpoints: [{address: "mail.example.com:465", clients: [browser]}]
        watch: [{files: [/etc/ssl/site]}]
        """
    )
    assert config.trust_stores["outsiders"].source == PemBundle("/etc/corporate-root.pem")
    assert config.clients["browser"].trusts == "mozilla"
    assert config.clients["finder"].trusts == "outsiders"
    assert [(file.path, file.role) for file in config.files if file.component == "portal"] == [
        ("/srv/portal.pem", FileRole.COMBINED)
    ]
    assert set(config.endpoints) == {"mail.example.com:465", "console/127.0.0.1:99"}
    assert [watch.patterns[0] for watch in config.watches] == ["/etc/ssl/site", *PORTAL_FOUND]


@pytest.mark.parametrize(
    ("appliance", "mistake"),
    [
        (
            "{external_name: a.example.com}",
            (
                "2: appliance.role: missing, expected primary (Web Console and Portal), secondary (Web Console and "
                "Engine) or single (all three)"
            ),
        ),
        (
            "{role: master, external_name: a.example.com}",
            "2: appliance.role: found 'master', expected one of primary, secondary, single",
        ),
        (
            "\n  role: single\n  external_name: a b",
            "4: appliance.external_name: found 'a b', expected a DNS name or an IP address",
        ),
        (
            "{role: single, external_name: a.example.com, finderport: 999}",
            (
                "2: appliance.finderport: unknown key (did you mean 'finder_port'?), expected one of address, "
                "collector_ports, engine_intermediates, engines, external_name, finder_port, internal_name, role, root"
            ),
        ),
        (
            "\n  role: primary\n  external_name: a.example.com\n  finder_port: 999",
            "5: appliance.finder_port: given here, expected only where role is secondary or single",
        ),
        (
            "{role: single, external_name: a.example.com, collector_ports: [8443, 84430]}",
            "2: appliance.collector_ports[1]: found the number 84430, expected a whole number from 1 to 65535",
        ),
        (
            "{role: single, external_name: a.example.com, root: lab}",
            "2: appliance.root: found 'lab', expected an absolute path",
        ),
        ("[single]", "2: appliance: found a list, expected a mapping"),
    ],
)
def test_a_mistake_about_the_appliance_is_like_any_other(appliance: str, mistake: str, write: Write) -> None:
    path = write(f"profile: nexthink-v6\nappliance: {appliance}\nclients: {{x: {{trusts: outsiders}}}}")
    found = load(path, {})
    assert isinstance(found, tuple)
    assert [str(each) for each in found] == [f"{path}:{mistake}"]


def test_what_the_profile_and_the_site_both_claim_names_both_places(write: Write) -> None:
    path = write(
        """\
        profile: nexthink-v6
        appliance: {role: primary, external_name: nx.example.com}
        components:
          mine: {artefacts: {combined: /var/nexthink/console/etc/certificate.pem}}
        """
    )
    found = load(path, {})
    assert isinstance(found, tuple)
    (mistake,) = found
    assert mistake.file == "profile nexthink-v6"
    assert mistake.key == "components.console.artefacts.combined"
    assert "is 'mine/combined' already" in mistake.problem


@pytest.mark.parametrize(
    ("role", "members"),
    [
        ("primary", ("console", "portal")),
        ("secondary", ("console", "engine")),
        ("single", ("console", "engine", "portal")),
    ],
)
def test_an_appliance_is_one_group_whose_services_are_restarted_by_systemd(
    role: str, members: tuple[str, ...], loaded: Loaded
) -> None:
    config = loaded(f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: nx.example.com}}")
    assert {name: each.members for name, each in config.groups.items()} == {role: members}
    units = {"console": "nxconsole", "portal": "nginx", "engine": "nxengine@1"}
    for name in members:
        component = config.components[name]
        assert component.service is not None
        assert component.service.restart == ("/usr/bin/systemctl", "restart", units[name])
        assert component.mode is Mode.APPROVE


def test_a_site_overrides_a_part_of_a_component_and_each_value_says_where_it_is_from(write: Write) -> None:
    path = write(
        """\
        profile: nexthink-v6
        appliance: {role: primary, external_name: nx.example.com}
        clients: {browser: {verifier: webpki}}
        components:
          console:
            service: {timeout: 5m}
            labels: {env: prod}
          portal:
            artefacts: {chain: /srv/chain.pem}
            service: {restart: [/srv/restart]}
        """
    )
    found = load_marked(path, {})
    assert isinstance(found, Marked)
    config, document = found
    console, portal = config.components["console"], config.components["portal"]
    assert console.service is not None
    assert portal.service is not None
    assert (console.service.unit, console.service.timeout, dict(console.labels)) == ("nxconsole", 300, {"env": "prod"})
    assert (portal.service.unit, portal.service.restart, portal.service.timeout) == (None, ("/srv/restart",), 120)
    assert portal.artefacts.chain == "/srv/chain.pem"
    assert portal.artefacts.certificate == PORTAL["portal/certificate"]
    assert (config.clients["browser"].trusts, config.clients["browser"].verifier) == ("outsiders", "webpki")
    service = ("components", "console", "service")
    assert str(document.mark((*service, "timeout"))) == f"{path}:6"
    assert document.mark((*service, "unit")).file == "profile nexthink-v6"
    shown = show_marked(config, document)
    lines = [line.split("  # ") for line in shown.splitlines()]
    said = {text.strip(): where for text, where in (line for line in lines if len(line) == 2)}
    assert said["timeout: 5m"] == f"{path}:6"
    assert said["unit: nxconsole"].startswith("profile nexthink-v6:")
    assert said["env: prod"] == f"{path}:7"
    assert "quiesce: false" not in said
    assert loaded_again(write, shown) == replace(config, profile=None, sources=(), digest="")


def test_a_site_may_take_service_and_group_away(loaded: Loaded) -> None:
    config = loaded(
        """
        profile: nexthink-v6
        appliance: {role: primary, external_name: nx.example.com}
        groups: {primary: []}
        components: {portal: {service: null}}
        """
    )
    assert not config.groups
    assert config.components["portal"].service is None
    assert config.components["console"].service is not None


def loaded_again(write: Write, text: str) -> Config:
    config = load(write(text, "shown.yaml"), {})
    assert isinstance(config, Config), config
    return replace(config, profile=None, sources=(), digest="")


def test_every_shipped_profile_can_be_read() -> None:
    nothing, _ = parse(b"appliance: {}", "a.yaml")
    assert nothing is not None
    assert shipped() == ("nexthink-v6",)
    for name in shipped():
        document, problems = expand(name, nothing)
        assert document is None
        assert all(": missing, expected" in f": {problem.text}" for problem in problems)

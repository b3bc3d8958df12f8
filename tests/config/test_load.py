from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.document import DEPTH_LIMIT, Mistake, parse
from config.expected import AllowedTLS
from config.load import load
from config.model import (
    AllowedIssuer,
    Artefacts,
    CertifiStore,
    Client,
    ClientCertificate,
    Component,
    Config,
    Endpoint,
    FileTarget,
    PemBundle,
    Settings,
    SystemStore,
    Threshold,
    Thresholds,
    TrustStore,
    Waiver,
    Watch,
    Web,
)
from config.policy import (
    Activate,
    AnyOf,
    HasFinding,
    Policy,
    PolicyMatch,
    RemainingBelow,
    Replace,
    Window,
    share_of_lifetime,
)
from config.schema.root import json_schema
from config.service import Activation, Service, systemd
from config.shipped import shipped_policies
from config.show import show
from config.text import printable
from config.vocabulary import (
    AddressChoice,
    Code,
    EndpointProtocol,
    FileRole,
    KeyKind,
    Mode,
    TLSVersion,
    VerifierName,
    WriteMode,
)
from tests.kit.configuration import GOOD, Loaded, Write
from tests.kit.examples import examples


def test_the_good_example_is_understood_in_full(loaded: Loaded, tmp_path: Path) -> None:
    config = loaded(GOOD)
    jdk_only, none = ("java",), ()
    assert config == Config(
        settings=Settings(
            "/srv/certvigil",
            "/run/vigil.sock",
            3600,
            5,
            30,
            Web(("[::]:9790", "127.0.0.1:0"), "/etc/certvigil/web.yaml", ("vigil.example.com",)),
        ),
        host="web1.example.com",
        watches=(
            Watch(
                ("/etc/ssl/private/**/*.pem", "/etc/pki/tls/certs/*.crt"),
                ("/etc/ssl/private/old",),
                "mozilla",
                Thresholds(Threshold(0.5, 40), Threshold(0.25, 21), Threshold(0.1, 14)),
            ),
        ),
        files=(
            FileTarget("web/certificate", "/etc/nginx/tls/site.crt", FileRole.CERTIFICATE, "web"),
            FileTarget("web/key", "/etc/nginx/tls/site.key", FileRole.KEY, "web"),
            FileTarget("web/chain", "/etc/nginx/tls/chain.pem", FileRole.CHAIN, "web"),
            FileTarget("proxy/combined", "/etc/haproxy/site.pem", FileRole.COMBINED, "proxy"),
            FileTarget(
                "java/keystore",
                "/etc/java/site.p12",
                FileRole.KEYSTORE,
                "java",
                password_files=("/etc/java/site.pass",),
            ),
        ),
        endpoints={
            each.name: each
            for each in (
                Endpoint("mail", "mail.example.com", 465, every=90, timeout=2.5, clients=jdk_only),
                Endpoint(
                    "[2001:db8::1]:8443/www.example.com",
                    "2001:db8::1",
                    8443,
                    "www.example.com",
                    minimum_version=TLSVersion.TLS1_2,
                    clients=none,
                ),
                Endpoint(
                    "www.example.com:443",
                    "www.example.com",
                    443,
                    "www.example.com",
                    tls=AllowedTLS(frozenset({TLSVersion.TLS1_3})),
                    clients=("default",),
                ),
                Endpoint(
                    "web/127.0.0.1:443",
                    "127.0.0.1",
                    443,
                    "www.example.com",
                    clients=("browser", "java"),
                    component="web",
                ),
                Endpoint(
                    "web/127.0.0.1:443/shop.example.com",
                    "127.0.0.1",
                    443,
                    "shop.example.com",
                    clients=("java",),
                    component="web",
                ),
                *(
                    Endpoint(
                        f"web/127.0.0.1:443/{kind}",
                        "127.0.0.1",
                        443,
                        "www.example.com",
                        clients=("browser", "java"),
                        component="web",
                        key_types=(kind,),
                    )
                    for kind in (KeyKind.RSA, KeyKind.EC)
                ),
            )
        },
        components={
            "web": Component(
                "web",
                Artefacts("/etc/nginx/tls/site.crt", "/etc/nginx/tls/site.key", "/etc/nginx/tls/chain.pem"),
                (
                    "web/127.0.0.1:443",
                    "web/127.0.0.1:443/shop.example.com",
                    "web/127.0.0.1:443/rsa",
                    "web/127.0.0.1:443/ec",
                ),
                ("browser", "java"),
                0,
                Service(
                    restart=("/bin/s",),
                    test=("/usr/sbin/nginx", "-t"),
                    reload=("/bin/r",),
                    activate=Activation.RELOAD,
                    timeout=5,
                ),
                (AllowedIssuer("system"),),
            ),
            "proxy": Component(
                "proxy",
                Artefacts(combined="/etc/haproxy/site.pem"),
                (),
                ("default",),
                service=systemd("haproxy.service"),
                write_mode=WriteMode.IN_PLACE,
            ),
            "java": Component(
                "java",
                Artefacts(keystore="/etc/java/site.p12", password_file="/etc/java/site.pass"),
                (),
                ("default",),
            ),
        },
        trust_stores={
            "system": TrustStore("system", SystemStore()),
            "mozilla": TrustStore("mozilla", CertifiStore()),
            "jdk": TrustStore("jdk", PemBundle("/etc/ssl/java.pem")),
        },
        clients={
            "default": Client("default", "system"),
            "browser": Client("browser", "mozilla", VerifierName.WEBPKI, names=("www.example.com",)),
            "java": Client(
                "java", "jdk", intermediates=("/etc/ssl/intermediate.pem",), validates=False, security_level=1
            ),
        },
        policies=(
            Policy(
                "renew-web",
                AnyOf(
                    (
                        RemainingBelow(share_of_lifetime(0.33)),
                        HasFinding(frozenset({Code.BAD_SIGNATURE}), "bad_signature"),
                    )
                ),
                Replace((AllowedIssuer("system"),)),
                None,
                PolicyMatch(("web",)),
                (Window("0 2 * * 2", 10_800, "Europe/Zurich"),),
                AnyOf((RemainingBelow(share_of_lifetime(0.08)),)),
                Mode.AUTO,
            ),
            Policy(
                "serve-what-is-on-disk",
                HasFinding(frozenset({Code.NOT_SERVED}), "not_served", lasting=900),
                Activate(),
                match=PolicyMatch(("web",)),
                mode=Mode.APPROVE,
            ),
            *(each for each in shipped_policies() if each.name != "serve-what-is-on-disk"),
        ),
        waivers=(
            # The last day counts.
            Waiver("mail", Code.WEAK_KEY, "appliance replaced in Q1", 1_806_537_600),
            Waiver("web/key", Code.KEY_EXPOSED, "read by the backup", 1_830_297_600),
            Waiver("/etc/ssl/private/a.pem", Code.EXPIRED, "test data", 1_798_761_600),
        ),
        sources=(str(tmp_path / "certvigil.yaml"),),
        digest=config.digest,
    )


def test_everything_has_a_default(loaded: Loaded) -> None:
    config = loaded("endpoints: [{address: 'www.example.com:443'}]")
    assert config.settings == Settings()
    assert config.endpoints == {
        "www.example.com:443": Endpoint("www.example.com:443", "www.example.com", 443, clients=("default",))
    }


def test_endpoints_that_differ_in_the_type_of_key_alone_have_names_of_their_own(loaded: Loaded) -> None:
    where = "address: 'www.example.com:443', server_name: a.example.com"
    config = loaded(f"endpoints: [{{{where}}}, {{{where}, key_type: rsa}}, {{{where}, key_type: ec}}]")
    name = "www.example.com:443/a.example.com"
    assert {each.name: each.key_type for each in config.endpoints.values()} == {
        name: None,
        f"{name}/rsa": KeyKind.RSA,
        f"{name}/ec": KeyKind.EC,
    }


def test_several_names_at_one_address_are_a_target_each(loaded: Loaded) -> None:
    names = "server_names: [a.example.com, b.example.com]"
    at = f"address: '192.0.2.1:443', {names}"
    config = loaded(f"endpoints: [{{{at}}}, {{{at}, name: x}}]")
    assert {name: each.server_name for name, each in config.endpoints.items()} == {
        "192.0.2.1:443/a.example.com": "a.example.com",
        "192.0.2.1:443/b.example.com": "b.example.com",
        "x/a.example.com": "a.example.com",
        "x/b.example.com": "b.example.com",
    }


def test_how_an_endpoint_is_reached_is_its_own(loaded: Loaded) -> None:
    config = loaded(
        """
        endpoints:
          - address: "www.example.com:443"
            sni: false
            key_types: [rsa, ec]
            addresses: first
            source_address: 192.0.2.9
            client_certificate: /etc/client.pem
        """
    )
    assert config.endpoints["www.example.com:443/no-sni"] == Endpoint(
        *("www.example.com:443/no-sni", "www.example.com", 443),
        clients=("default",),
        sni=False,
        key_types=(KeyKind.RSA, KeyKind.EC),
        addresses=AddressChoice.FIRST,
        source_address="192.0.2.9",
        client_certificate=ClientCertificate("/etc/client.pem", "/etc/client.pem"),
    )


def test_an_endpoint_speaks_the_protocol_that_is_named(loaded: Loaded) -> None:
    addresses = {each: f"{{address: '{each}.example.com:1', protocol: {each}}}" for each in EndpointProtocol}
    config = loaded(f"endpoints: [{', '.join(addresses.values())}]")
    assert {name: each.protocol for name, each in config.endpoints.items()} == {
        f"{each}.example.com:1": each for each in EndpointProtocol
    }


def test_what_is_always_there_can_be_redefined(loaded: Loaded) -> None:
    config = loaded(
        """
        trust_stores: {system: {bundle: /etc/corporate.pem}}
        clients: {default: {trusts: mozilla, verifier: webpki}}
        """
    )
    assert config.trust_stores["system"].source == PemBundle("/etc/corporate.pem")
    assert config.clients["default"] == Client("default", "mozilla", VerifierName.WEBPKI)


def test_a_reason_over_several_lines_is_one_sentence(loaded: Loaded) -> None:
    (waiver,) = loaded(
        """
        waivers:
          - target: /a
            finding: expired
            reason: |
              test data,
              never served
            until: 2027-01-01
        """
    ).waivers
    assert waiver.reason == "test data, never served"


def test_a_duration_may_be_given_in_milliseconds(loaded: Loaded) -> None:
    config = loaded(
        "{endpoints: [{address: 'a:1', every: 500ms}, {address: 'b:1', every: 0.5s}], validation: {interval: 1500ms}}"
    )
    assert [each.every for each in config.endpoints.values()] == [0.5, 0.5]
    assert config.settings.validation.interval == 1.5


@pytest.mark.parametrize("text", ["30", "5 min", "1w", "0.001ms"])
def test_what_a_variable_stands_for_is_not_guessed_at(text: str, write: Write) -> None:
    (mistake,) = load(write("rescan: ${SECRET}"), {"SECRET": text})  # type: ignore[misc]
    assert mistake.problem == "found '${SECRET}', expected a duration such as 30s, 5m, 3h or 2d"


def test_numbers_may_come_from_the_environment(loaded: Loaded) -> None:
    config = loaded("{concurrency: '${N}', endpoints: [{address: 'www.example.com:${PORT}'}]}", N="7", PORT="444")
    assert config.settings.concurrency == 7
    assert config.endpoints["www.example.com:444"].port == 444


MISTAKES = [
    case
    for file in ("mistakes.yaml", "policy_mistakes.yaml")
    for case in yaml.load((Path(__file__).parent / file).read_bytes(), Loader=yaml.BaseLoader)
]


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["name"])
def test_a_mistake_says_where_it_is_and_what_was_expected(case: dict[str, str], write: Write) -> None:
    path = write(case["document"])
    found = load(path, {"SECRET": "hunter2"})
    assert isinstance(found, tuple)
    said = case["says"].replace("{file}", path).replace("{codes}", ", ".join(sorted(Code)))
    assert [str(mistake) for mistake in found] == [f"{path}:{said}"]


def test_all_mistakes_are_said_at_once(write: Write) -> None:
    path = write(
        """\
        rescan: 5m
        rescan: 6m
        wach: []
        endpoints:
          - {address: nowhere, clients: [nobody]}
          - address: a:1
          - address: a:1
        components:
          a: {artefacts: {combined: /x}}
          b: {artefacts: {combined: /x}}
        waivers:
          - {target: c, finding: weak_key, reason: x, until: never}
        socket: ${MISSING}
        """
    )
    found = load(path, {})
    assert isinstance(found, tuple)
    assert [(mistake.line, mistake.key) for mistake in found] == [
        (2, "rescan"),
        (3, "wach"),
        (5, "endpoints[0].address"),
        (5, "endpoints[0].clients[0]"),
        (7, "endpoints[2]"),
        (10, "components.b.artefacts.combined"),
        (12, "waivers[0].until"),
        (13, "socket"),
    ]


def test_one_mistake_hides_no_other_that_does_not_depend_on_it(write: Write) -> None:
    path = write(
        """\
        endpoints:
          - {address: mail:25, evry: 5m}
          - {evry: 5m, name: ldap}
        components:
          web:
            artefacts: {combined: /x}
            mode: auto
            modus: auto
            timeout: 5
            service: {unit: nginx, restart: [/bin/true], tmeout: 5s}
          shop: {artefacts: {combined: /y}, clients: [nobody]}
        policies:
          - {name: a, when: {finding: expired}, match: {target: [mali:25, ldap, web/no, shop/combined]}, do: [activate]}
          - {name: b, when: {finding: expired}, mode: auto, do: [replace], windws: []}
        waivers:
          - {target: mial, finding: weak_key, reason: x, until: 2027-01-01}
        """
    )
    found = load(path, {})
    assert isinstance(found, tuple)
    said = [(each.line, each.key, each.problem.partition(",")[0]) for each in found]
    assert said == [
        (2, "endpoints[0].evry", "unknown key (did you mean 'every'?)"),
        (3, "endpoints[1].address", "missing"),
        (3, "endpoints[1].evry", "unknown key (did you mean 'every'?)"),
        (8, "components.web.modus", "unknown key (did you mean 'mode'?)"),
        (9, "components.web.timeout", "unknown key"),
        (10, "components.web.service.tmeout", "unknown key (did you mean 'timeout'?)"),
        (10, "components.web.service", "'unit' beside commands of its own"),
        (11, "components.shop.clients[0]", "there is no client 'nobody'"),
        (13, "policies[0].match.target[0]", "there is no target 'mali:25' (did you mean 'mail:25'?)"),
        (14, "policies[1].windws", "unknown key (did you mean 'windows'?)"),
        (16, "waivers[0].target", "there is no target 'mial'"),
    ]


def test_a_rule_says_nothing_where_a_key_that_it_reads_has_a_mistake_of_its_own(write: Write) -> None:
    path = write(
        """\
        components:
          a: {artefacts: {combined: /x}, mode: auto, allowed_issuer: [], service: {unit: nginx}}
          b: {artefacts: {combined: /y}, mode: auto, allowed_issuers: [{trust_store: system}], service: {unt: nginx}}
          c: {artefacts: {combined: /z}, mode: auto, rescan: 5m}
        """
    )
    found = load(path, {})
    assert isinstance(found, tuple)
    assert [(each.line, each.key) for each in found] == [
        (2, "components.a.allowed_issuer"),
        (3, "components.b.service.unt"),
        (4, "components.c.rescan"),
        (4, "components.c"),
    ]
    assert found[3].problem.startswith("'mode: auto' without 'allowed_issuers'")


def test_a_mistake_in_what_an_alias_repeats_is_said_of_both_at_its_line(write: Write) -> None:
    path = write(
        """\
        components:
          web:
            artefacts: {certificate: /c, key: /k}
            service: &nginx
              unit: nginx.service
              timeout: soon
          shop:
            artefacts: {certificate: /d, key: /l}
            service: *nginx
        """
    )
    found = load(path, {})
    assert isinstance(found, tuple)
    assert [(mistake.line, mistake.key) for mistake in found] == [
        (6, "components.web.service.timeout"),
        (6, "components.shop.service.timeout"),
    ]


NGINX = Service(
    restart=("/bin/systemctl", "restart", "nginx"),
    test=("/usr/sbin/nginx", "-t"),
    reload=("/bin/systemctl", "reload", "nginx"),
    activate=Activation.RELOAD,
)


@pytest.mark.parametrize(
    ("before", "web", "shop"),
    [("services: {{nginx: {nginx}}}", "nginx", "nginx"), ("", "&nginx {nginx}", "*nginx")],
    ids=["by its name", "by an alias"],
)
def test_two_virtual_hosts_of_one_server_say_once_what_it_is(before: str, web: str, shop: str, loaded: Loaded) -> None:
    nginx = (
        "{test: [/usr/sbin/nginx, -t], activate: reload, reload: [/bin/systemctl, reload, nginx], "
        "restart: [/bin/systemctl, restart, nginx]}"
    )
    before, web, shop = (each.format(nginx=nginx) for each in (before, web, shop))
    config = loaded(
        f"""
        {before}
        components:
          web: {{artefacts: {{certificate: /c, key: /k}}, service: {web}}}
          shop: {{artefacts: {{certificate: /d, key: /l}}, service: {shop}}}
        """
    )
    assert [each.service for each in config.components.values()] == [NGINX, NGINX]


def test_a_shared_service_may_stand_in_a_file_of_its_own(write: Write, tmp_path: Path) -> None:
    write("services: {nginx: {unit: nginx.service}}", "services.yaml")
    write("components: {web: {artefacts: {certificate: /c, key: /k}, service: nginx}}", "web.yaml")
    config = load(str(tmp_path), {})
    assert isinstance(config, Config)
    assert config.components["web"].service == systemd("nginx.service")


def test_a_missing_variable_is_not_a_mistake_twice(write: Write) -> None:
    found = load(write("rescan: ${MISSING}"), {})
    assert isinstance(found, tuple)
    assert len(found) == 1


def test_the_good_example_fits_the_json_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    document, _ = parse(GOOD.encode(), "")
    assert document is not None
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(document.values)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"rescan": "soon"})


def test_every_key_is_described_to_an_editor() -> None:
    schema = json_schema()
    models = [schema, *(each for each in schema["$defs"].values() if each.get("type") == "object")]
    models.extend(schema["$defs"][name]["anyOf"][0] for name in ("Level", "Remaining", "ActionSection"))
    for each in models:
        undescribed = [key for key, value in each["properties"].items() if not value.get("description")]
        assert undescribed == []


def test_a_default_is_described_as_people_write_it() -> None:
    assert json_schema()["properties"]["rescan"]["default"] == "10m"


def test_the_model_and_the_vocabulary_load_without_yaml_and_pydantic() -> None:
    code = "import sys, config.model, config.address; print({'yaml', 'pydantic', '_yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
SECTIONS = (json_schema(), *json_schema()["$defs"].values())
KEYS = st.sampled_from([*(key for section in SECTIONS for key in section.get("properties", ())), "role", "[key]"])
WORDS = st.sampled_from(["nexthink-v6", "single", "primary", "a:1", "/a", "5m", "33%", "default", "${X}", "1e3", "{"])


def nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)


VALUES = st.recursive(SCALARS | WORDS, nested)
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(150))


def is_harmless(text: str) -> bool:
    unescaped = text.replace("\\", "")
    return printable(unescaped, len(text)) == unescaped


def check(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)
    found = load(path, {"X": "y"})
    if isinstance(found, tuple):
        assert found
        assert all(isinstance(mistake, Mistake) and is_harmless(str(mistake)) for mistake in found)
        assert all(mistake.line > 0 for mistake in found)


@FUZZ
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes, write: Write) -> None:
    check(write(""), data)


@FUZZ
@given(text=st.text(alphabet="ab:{}[]-&*!|>'\"%@`#?, \n\t\\\0\x85\ud7ff$", max_size=80))
def test_arbitrary_punctuation_never_raises(text: str, write: Write) -> None:
    check(write(""), text.encode())


@FUZZ
@given(values=st.dictionaries(KEYS, VALUES, max_size=6))
def test_arbitrary_values_never_raise(values: dict[str, object], write: Write) -> None:
    check(write(""), yaml.safe_dump(values).encode())


def test_a_deep_document_is_a_mistake_and_no_crash(write: Write) -> None:
    deep = "a: " + "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1)
    check(write(deep), deep.encode())


def test_a_trust_store_that_a_person_may_change_is_shown_as_it_was_written(loaded: Loaded) -> None:
    config = loaded(
        """
        services: {portal: {unit: nxportal, quiesce: true}}
        trust_stores:
          java:
            bundle: /usr/java/lib/security/cacerts
            password_file: /etc/certvigil/java.pass
            mode: approve
            service: portal
            write_mode: in_place
            keytool: /usr/java/bin/keytool
          corporate: {bundle: /etc/corporate.pem}
        """
    )
    java = config.trust_stores["java"]
    assert (java.path, java.mode, java.write_mode) == ("/usr/java/lib/security/cacerts", "approve", "in_place")
    assert (java.password_file, java.keytool) == ("/etc/certvigil/java.pass", "/usr/java/bin/keytool")
    assert java.service is not None
    assert (java.service.unit, java.service.quiesce) == ("nxportal", True)
    assert [*config.changeable_stores] == ["java"]
    assert loaded(show(config)).trust_stores == config.trust_stores


def test_the_actions_on_a_group_or_a_component_are_a_target_of_waivers_and_policies(loaded: Loaded) -> None:
    config = loaded(
        """
        components:
          console: {artefacts: {combined: /a}, service: {restart: [/bin/true]}}
          portal: {artefacts: {combined: /b}, service: {restart: [/bin/true]}}
          web: {artefacts: {combined: /c}, service: {restart: [/bin/true]}}
        groups: {primary: [console, portal]}
        waivers:
          - {target: primary/actions, finding: action_failed, reason: known, until: 2999-12-31}
          - {target: web/actions, finding: action_failed, reason: known, until: 2999-12-31}
        policies:
          - {name: p, match: {target: [primary/actions]}, when: {finding: action_failed}, do: [activate]}
        """
    )
    assert [each.target for each in config.waivers] == ["primary/actions", "web/actions"]
    assert config.policies[0].match.targets == ("primary/actions",)


def test_files_and_endpoints_have_the_labels_of_their_component_and_their_own_count_more(loaded: Loaded) -> None:
    config = loaded(
        """
        watch: [{files: [/a], labels: {team: files}}]
        components:
          web:
            artefacts: {certificate: /b}
            endpoints: [{address: "b:1"}, {address: "c:1", labels: {env: test}}]
            labels: {env: prod, team: web}
        """
    )
    assert config.watches[0].labels == (("team", "files"),)
    assert [each.labels for each in config.files] == [(("env", "prod"), ("team", "web"))]
    assert [dict(each.labels)["env"] for each in config.endpoints.values()] == ["prod", "test"]
    assert config.labels["web"] == {"env": "prod", "team": "web"}

"""The readers of servers' configurations, by Debian's own files and by lines that people add for TLS."""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.vocabulary import ServerSoftware
from probes.server_config.files import HostFiles
from probes.server_config.lines import TOO_MUCH
from probes.server_config.registry import READERS
from probes.server_config.terms import ConfiguredSite, ServerReading
from tests.kit.examples import examples

S = ServerSoftware
Files = dict[str, str]


def read(software: ServerSoftware, root: Path, texts: Files) -> ServerReading:
    for path, text in texts.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return READERS[software](HostFiles(str(root)))


def shown(site: ConfiguredSite, root: Path) -> str:
    """Return a site in one line: its files, its listeners, its names."""
    files = site.files
    key = "=" if files.key == files.certificate else files.key
    paths = " ".join(str(each).removeprefix(str(root)) for each in (files.certificate, key, files.chain) if each)
    where = " ".join(
        f"{each.host}:{each.port}/{each.protocol}{'+proxy' if each.proxy_protocol else ''}" for each in site.listeners
    )
    return f"{paths} at {where}{' for ' if site.names else ''}{' '.join(site.names)}"


TABLE: tuple[tuple[str, ServerSoftware, Files, list[str]], ...] = (
    (
        "nginx inherits a certificate, includes by pattern, and listens by every spelling",
        S.NGINX,
        {
            "/etc/nginx/nginx.conf": """
            user www-data; # a comment; with a semicolon
            events { worker_connections 768; }
            http {
                ssl_certificate "/etc/ssl/all.pem"; ssl_certificate_key /etc/ssl/all.key;
                log_format main '$remote_addr {"a": "}"}';
                include /etc/nginx/sites-enabled/*;
            }
            mail {
                ssl_certificate mail.pem; ssl_certificate_key mail.key;
                server { listen 143; protocol imap; starttls on; }
                server { listen 993 ssl; protocol imap; }
                server { listen 25; protocol smtp; }
            }""",
            "/etc/nginx/sites-enabled/a": """
            server { listen 443 ssl http2; listen [::]:443 ssl; listen 80; server_name a.example www.a.example; }
            server { listen unix:/run/x ssl; listen 127.0.0.1:8443 ssl proxy_protocol; server_name _;
                     ssl_certificate rsa.pem; ssl_certificate_key rsa.key;
                     ssl_certificate ec.pem; ssl_certificate_key ec.key; }
            server { listen 8080; server_name plain.example; }""",
        },
        [
            "/etc/ssl/all.pem /etc/ssl/all.key at :443/tls for a.example www.a.example",
            "/etc/nginx/rsa.pem /etc/nginx/rsa.key at 127.0.0.1:8443/tls+proxy",
            "/etc/nginx/ec.pem /etc/nginx/ec.key at 127.0.0.1:8443/tls+proxy",
            "/etc/nginx/mail.pem /etc/nginx/mail.key at :143/imap",
            "/etc/nginx/mail.pem /etc/nginx/mail.key at :993/tls",
        ],
    ),
    (
        "Apache follows Debian's includes, modules and defines",
        S.APACHE,
        {
            "/etc/apache2/apache2.conf": """
            IncludeOptional mods-enabled/*.load
            Include ports.conf
            Define CERTS /etc/ssl
            IncludeOptional sites-enabled/*.conf
            """,
            "/etc/apache2/mods-enabled/ssl.load": "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n",
            "/etc/apache2/ports.conf": "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n"
            "<IfModule mod_gnutls.c>\n\tListen 444\n</IfModule>\nListen 127.0.0.1:8443 https\n",
            "/etc/apache2/sites-enabled/default-ssl.conf": """
            <VirtualHost *:443>
                ServerName https://www.example.com:443
                ServerAlias example.com \\
                    example.org
                SSLEngine on
                SSLCertificateFile "${CERTS}/site.pem"
                SSLCertificateKeyFile  ${CERTS}/site.key
                #SSLCertificateChainFile /etc/apache2/ssl.crt/server-ca.crt
                SSLCertificateChainFile chain.pem
            </VirtualHost>
            <VirtualHost 127.0.0.1:8443>
                SSLEngine On
                SSLCertificateFile both.pem
            </VirtualHost>
            <VirtualHost *:80>
                ServerName plain.example.com
            </VirtualHost>""",
        },
        [
            (
                "/etc/ssl/site.pem /etc/ssl/site.key /etc/apache2/chain.pem at :443/tls for www.example.com example.com"
                " example.org"
            ),
            "/etc/apache2/both.pem = at 127.0.0.1:8443/tls",
        ],
    ),
    (
        "Apache without mod_ssl serves nothing",
        S.APACHE,
        {
            "/etc/httpd/conf/httpd.conf": "Listen 443\n<VirtualHost *>\nSSLEngine on\n"
            "SSLCertificateFile a\n</VirtualHost>"
        },
        [],
    ),
    (
        "lighttpd's sockets inherit the certificate of the global scope, and hosts have their own",
        S.LIGHTTPD,
        {
            "/etc/lighttpd/lighttpd.conf": """
            var.certs = "/etc/lighttpd/tls"
            server.port = 80
            include_shell "/usr/share/lighttpd/create-mime.conf.pl"
            include "/etc/lighttpd/conf-enabled/*.conf"
            """,
            "/etc/lighttpd/conf-enabled/10-ssl.conf": """
            ssl.pemfile = var.certs + "/server.pem"
            ssl.ca-file = "/etc/lighttpd/tls/chain.pem"
            $SERVER["socket"] == "0.0.0.0:443" {
                ssl.engine = "enable"
                $HTTP["host"] == "b.example" { ssl.pemfile = "b.pem" ssl.privkey = "b.key" }
                $HTTP["host"] =~ "^c\\.example$" { ssl.pemfile = "c.pem" }
            }
            include_shell "/usr/share/lighttpd/use-ipv6.pl 443"
            """,
        },
        [
            "/etc/lighttpd/tls/server.pem = /etc/lighttpd/tls/chain.pem at :443/tls",
            "/etc/lighttpd/b.pem /etc/lighttpd/b.key /etc/lighttpd/tls/chain.pem at :443/tls for b.example",
            "/etc/lighttpd/c.pem = /etc/lighttpd/tls/chain.pem at :443/tls for c.example",
        ],
    ),
    (
        "lighttpd serves TLS on its main port",
        S.LIGHTTPD,
        {
            "/etc/lighttpd/lighttpd.conf": 'server.bind = "127.0.0.1"\nserver.port = 8443\nssl.engine = "enable"\n'
            'ssl.pemfile = "/a.pem"\nssl.privkey = "/a.key"\n$HTTP["host"] == "b.example" { ssl.pemfile = "/b.pem" }'
        },
        ["/a.pem /a.key at 127.0.0.1:8443/tls", "/b.pem /a.key at 127.0.0.1:8443/tls for b.example"],
    ),
    (
        "HAProxy's crt is a file, a directory or a list",
        S.HAPROXY,
        {
            "/etc/haproxy/haproxy.cfg": """
global
    crt-base /etc/haproxy/certs
    ca-base /etc/ssl/certs
defaults
    mode http
frontend all
    bind *:80
    bind :443,[::]:8443 ssl crt site.pem alpn h2,http/1.1 # the site
    bind 127.0.0.1:444 accept-proxy ssl crt /etc/haproxy/more crt-list /etc/haproxy/list
    bind /run/haproxy.sock ssl crt site.pem
backend b
    server s 127.0.0.1:1 ssl crt client.pem
""",
            "/etc/haproxy/certs/site.pem": "",
            "/etc/haproxy/more/a.pem": "",
            "/etc/haproxy/more/b.pem": "",
            "/etc/haproxy/more/b.pem.key": "",
            "/etc/haproxy/more/b.pem.ocsp": "",
            "/etc/haproxy/list": "# list\nx.pem [alpn h2 ssl-min-ver TLSv1.2] x.example !y.x.example\n",
        },
        [
            "/etc/haproxy/certs/site.pem = at :443/tls :8443/tls",
            "/etc/haproxy/more/a.pem = at 127.0.0.1:444/tls+proxy",
            "/etc/haproxy/more/b.pem /etc/haproxy/more/b.pem.key at 127.0.0.1:444/tls+proxy",
            "/etc/haproxy/certs/x.pem = at 127.0.0.1:444/tls+proxy for x.example",
        ],
    ),
    (
        "Postfix's services override main.cf",
        S.POSTFIX,
        {
            "/etc/postfix/main.cf": """
# a comment
certs = /etc/ssl
smtpd_tls_cert_file=${certs}/mail.pem
smtpd_tls_key_file = $certs/mail.key
smtpd_tls_security_level =
    may
""",
            "/etc/postfix/master.cf": """
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o smtpd_tls_security_level=encrypt
smtps     inet  n       -       y       -       -       smtpd
  -o { smtpd_tls_wrappermode = yes }
  -o smtpd_tls_chain_files=/k.pem,/c.pem
127.0.0.1:10025 inet n - n - - smtpd
  -o smtpd_tls_security_level=none
tlsmgr    unix  -       -       y       1000?   1       tlsmgr
""",
        },
        [
            "/etc/ssl/mail.pem /etc/ssl/mail.key at :25/smtp",
            "/etc/ssl/mail.pem /etc/ssl/mail.key at :587/smtp",
            "/c.pem /k.pem at :465/tls",
        ],
    ),
    (
        "Exim's macros and conditions are replaced as Debian's configuration means them",
        S.EXIM,
        {
            "/var/lib/exim4/config.autogenerated": """
CONFDIR = /etc/exim4
MAIN_TLS_ENABLE = 1
daemon_smtp_ports = 25 : 465
tls_on_connect_ports = 465
.ifdef MAIN_TLS_ENABLE
.ifndef MAIN_TLS_ADVERTISE_HOSTS
MAIN_TLS_ADVERTISE_HOSTS = *
.endif
tls_advertise_hosts = MAIN_TLS_ADVERTISE_HOSTS
.ifdef MAIN_TLS_CERTKEY
tls_certificate = MAIN_TLS_CERTKEY
.else
.ifndef MAIN_TLS_CERTIFICATE
MAIN_TLS_CERTIFICATE = CONFDIR/exim.crt
.endif
tls_certificate = MAIN_TLS_CERTIFICATE
.ifndef MAIN_TLS_PRIVATEKEY
MAIN_TLS_PRIVATEKEY = CONFDIR/exim.key
.endif
tls_privatekey = MAIN_TLS_PRIVATEKEY
.endif
.endif
begin transports
tls_certificate = /client.pem
"""
        },
        ["/etc/exim4/exim.crt /etc/exim4/exim.key at :25/smtp :465/tls"],
    ),
    (
        "Dovecot's default ports are of the protocols in use, and a local_name has its own certificate",
        S.DOVECOT,
        {
            "/etc/dovecot/dovecot.conf": """
!include_try /usr/share/dovecot/protocols.d/*.protocol
#protocols = pop3
!include conf.d/*.conf
!include_try local.conf
""",
            "/usr/share/dovecot/protocols.d/imapd.protocol": "protocols = $protocols imap\n",
            "/usr/share/dovecot/protocols.d/sieve.protocol": "protocols = $protocols sieve\n",
            "/etc/dovecot/conf.d/10-ssl.conf": "ssl = yes\nssl_cert = </etc/dovecot/private/d.pem\n"
            "ssl_key = </etc/dovecot/private/d.key # the key\n"
            "local_name imap.b.example {\n  ssl_cert = </b.pem\n  ssl_key = </b.key\n}\n",
            "/etc/dovecot/conf.d/10-master.conf": "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n"
            "  inet_listener imaps {\n    address = 127.0.0.1\n    #port = 993\n  }\n}\n"
            "service pop3-login {\n  inet_listener pop3s {\n    port = 995\n  }\n}\n",
        },
        [
            "/etc/dovecot/private/d.pem /etc/dovecot/private/d.key at 127.0.0.1:993/tls :4190/sieve",
            "/b.pem /b.key at 127.0.0.1:993/tls :4190/sieve for imap.b.example",
        ],
    ),
    (
        "PostgreSQL's paths are relative to its data, and ALTER SYSTEM has the last word",
        S.POSTGRESQL,
        {
            "/etc/postgresql/15/main/postgresql.conf": """
data_directory = '/var/lib/postgresql/15/main'          # use data in another directory
#port = 5433
port = 5432
listen_addresses = '10.0.0.1, ::1'
ssl = on
ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'
ssl_key_file 'server.key'
include_dir = 'conf.d'
""",
            "/etc/postgresql/15/main/conf.d/a.conf": "port = 5433\n",
            "/var/lib/postgresql/15/main/postgresql.auto.conf": "ssl_cert_file = 'it''s.pem'\n",
        },
        [
            (
                "/var/lib/postgresql/15/main/it's.pem /var/lib/postgresql/15/main/server.key"
                " at 10.0.0.1:5433/postgres ::1:5433/postgres"
            )
        ],
    ),
    (
        "MariaDB reads the sections of the server alone",
        S.MARIADB,
        {
            "/etc/mysql/my.cnf": "[client-server]\nsocket = /run/mysqld/mysqld.sock\n"
            "!includedir /etc/mysql/conf.d/\n!includedir /etc/mysql/mariadb.conf.d/\n",
            "/etc/mysql/conf.d/client.cnf": "[client]\nssl-cert = /client.pem\nssl-key = /client.key\n",
            "/etc/mysql/mariadb.conf.d/50-server.cnf": "[mysqld]\nbind-address = 127.0.0.1\n#port = 1\n"
            "[mariadb-10.11]\nssl_cert = /etc/mysql/server.pem\nssl-key=/etc/mysql/server.key\n",
        },
        ["/etc/mysql/server.pem /etc/mysql/server.key at 127.0.0.1:3306/mysql"],
    ),
    (
        "slapd's entry cn=config, and the URLs with which Debian starts it",
        S.SLAPD,
        {
            "/etc/ldap/slapd.d/cn=config.ldif": "dn: cn=config\nobjectClass: olcGlobal\n"
            "olcTLSCertificateFile: /etc/ldap/tls/ld\n ap.pem\nolcTLSCertificateKeyFile:: L2V0Yy9sZGFwL2xkYXAua2V5\n",
            "/etc/default/slapd": '# a comment\nSLAPD_SERVICES="ldap://127.0.0.1/ ldaps:/// ldapi:///"\n',
        },
        ["/etc/ldap/tls/ldap.pem /etc/ldap/ldap.key at 127.0.0.1:389/ldap :636/tls"],
    ),
    (
        "slapd.conf",
        S.SLAPD,
        {
            "/etc/ldap/slapd.conf": "include /etc/ldap/tls.conf\npidfile /run/slapd.pid\n# TLSCertificateFile /no\n",
            "/etc/ldap/tls.conf": 'TLSCertificateFile "/etc/ldap/a.pem"\nTLSCertificateKeyFile /etc/ldap/a.key\n',
        },
        ["/etc/ldap/a.pem /etc/ldap/a.key at :389/ldap"],
    ),
    (
        "stunnel's services inherit, and clients serve nothing",
        S.STUNNEL,
        {
            "/etc/stunnel/stunnel.conf": "; a comment\ncert = /etc/stunnel/all.pem\n[https]\naccept = 443\n"
            "connect = 80\n"
            "[imap]\naccept = 127.0.0.1:143\nprotocol = imap\ncert = /i.pem\nkey = /i.key\n"
            "[out]\nclient = yes\naccept = 25\nconnect = mail.example.com:465\n",
        },
        ["/etc/stunnel/all.pem = at :443/tls", "/i.pem /i.key at 127.0.0.1:143/imap"],
    ),
    (
        "vsftpd with and without implicit TLS",
        S.VSFTPD,
        {
            "/etc/vsftpd.conf": "listen=NO\nlisten_ipv6=YES\nrsa_cert_file=/f.pem\nrsa_private_key_file=/f.key\n"
            "ssl_enable=YES\n",
            "/etc/vsftpd/implicit.conf": "ssl_enable=yes\nimplicit_ssl=YES\nlisten_port=990\nrsa_cert_file=/f.pem\n",
            "/etc/vsftpd/off.conf": "ssl_enable=NO\nrsa_cert_file=/f.pem\n",
        },
        ["/f.pem /f.key at :21/ftp", "/f.pem = at :990/tls"],
    ),
    (
        "prosody's hosts name their certificate, or it is found by their name",
        S.PROSODY,
        {
            "/etc/prosody/prosody.cfg.lua": """
-- a comment; VirtualHost "not.this"
modules_enabled = { "tls"; "saslauth"; -- more
}
limits = { c2s = { rate = "10kb/s"; }; }
certificates = "certs"
c2s_direct_tls_ports = { 5223 }
s2s_ports = { }
VirtualHost "a.example"
    ssl = { certificate = "/etc/ssl/a.pem", key = '/etc/ssl/a.key' }
VirtualHost "b.example"
Component "rooms.b.example" "muc"
Include "conf.d/*.cfg.lua"
""",
            "/etc/prosody/conf.d/c.cfg.lua": 'VirtualHost "c.example"\n',
            "/etc/prosody/certs/b.example.crt": "",
            "/etc/prosody/certs/b.example.key": "",
            "/etc/prosody/certs/c.example/fullchain.pem": "",
        },
        [
            "/etc/ssl/a.pem /etc/ssl/a.key at :5222/xmpp :5223/tls for a.example",
            "/etc/prosody/certs/b.example.crt /etc/prosody/certs/b.example.key at :5222/xmpp :5223/tls for b.example",
            (
                "/etc/prosody/certs/b.example.crt /etc/prosody/certs/b.example.key at :5222/xmpp :5223/tls"
                " for rooms.b.example"
            ),
            (
                "/etc/prosody/certs/c.example/fullchain.pem /etc/prosody/certs/c.example/privkey.pem"
                " at :5222/xmpp :5223/tls for c.example"
            ),
        ],
    ),
    (
        "Tomcat's connectors, of both kinds",
        S.TOMCAT,
        {
            "/var/lib/tomcat10/conf/server.xml": """<?xml version="1.0" encoding="UTF-8"?>
<Server port="8005"><Service name="Catalina">
  <Connector port="8080" protocol="HTTP/1.1"/>
  <!-- <Connector port="9443" SSLEnabled="true"><SSLHostConfig/></Connector> -->
  <Connector port="8443" SSLEnabled="true">
    <SSLHostConfig><Certificate certificateKeystoreFile="conf/a.jks" type="RSA"/></SSLHostConfig>
    <SSLHostConfig hostName="b.example">
      <Certificate certificateFile="${catalina.base}/conf/b.pem" certificateKeyFile="/b.key"/>
    </SSLHostConfig>
  </Connector>
  <Connector address="127.0.0.1" port="8444" SSLEnabled="true" keystoreFile="/old.p12"/>
</Service></Server>""",
        },
        [
            "/var/lib/tomcat10/conf/a.jks = at :8443/tls",
            "/var/lib/tomcat10/conf/b.pem /b.key at :8443/tls for b.example",
            "/old.p12 = at 127.0.0.1:8444/tls",
        ],
    ),
)


@pytest.mark.parametrize(("software", "texts", "sites"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_every_certificate_is_found_with_its_ports(
    software: ServerSoftware, texts: Files, sites: list[str], tmp_path: Path
) -> None:
    reading = read(software, tmp_path, texts)
    assert [shown(each, tmp_path) for each in reading.sites] == sites
    assert not reading.not_understood
    assert reading.main


def test_the_table_has_every_server() -> None:
    assert {row[1] for row in TABLE} == set(READERS) == set(ServerSoftware)


ODD: tuple[tuple[ServerSoftware, Files, str], ...] = (
    (
        S.NGINX,
        {
            "/etc/nginx/nginx.conf": "http { server { listen 443 ssl; ssl_certificate $ssl_server_name.pem;"
            " ssl_certificate_key a.key; } }"
        },
        "$ssl_server_name.pem is no path of a file",
    ),
    (S.NGINX, {"/etc/nginx/nginx.conf": "http { server { listen 443 ssl;"}, "a block in it has no end"),
    (
        S.APACHE,
        {"/etc/apache2/apache2.conf": "LoadModule ssl_module x\nListen 443\n<If true>\nSSLCertificateFile a\n</If>\n"},
        "a condition or a macro in it concerns certificates",
    ),
    (
        S.LIGHTTPD,
        {"/etc/lighttpd/lighttpd.conf": 'include_shell "/root/make-tls"\n'},
        "include_shell is not followed",
    ),
    (
        S.LIGHTTPD,
        {"/etc/lighttpd/lighttpd.conf": '$HTTP["remoteip"] == "::1" { ssl.pemfile = "a" }\n'},
        "ssl.pemfile depends on a condition that is not followed",
    ),
    (
        S.HAPROXY,
        {"/etc/haproxy/haproxy.cfg": 'frontend f\n  bind :443 ssl crt "${CERT}"\n'},
        "crt ${CERT} is no path of a file",
    ),
    (
        S.EXIM,
        {"/etc/exim4/exim4.conf": "tls_certificate = ${if exists{/a}{/a}{/b}}\n"},
        "tls_certificate = ${if exists{/a}{/a}{/b}} is no path of a file",
    ),
    (S.STUNNEL, {"/etc/stunnel/a.conf": "cert=/a\n[a]\naccept=1\nprotocol=cifs\n"}, "protocol = cifs"),
    (
        S.TOMCAT,
        {"/opt/tomcat/conf/server.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'},
        "it has a document type",
    ),
    (S.TOMCAT, {"/opt/tomcat/conf/server.xml": "<Server>"}, "no element found: line 1, column 8"),
    (
        S.PROSODY,
        {"/etc/prosody/prosody.cfg.lua": 'VirtualHost "a"\nssl = { certificate = os.getenv("C"), key = "/k" }\n'},
        "`ssl` names no certificate with its key as plain texts",
    ),
)


@pytest.mark.parametrize(("software", "texts", "why"), ODD)
def test_a_statement_that_is_not_understood_is_said_and_never_guessed(
    software: ServerSoftware, texts: Files, why: str, tmp_path: Path
) -> None:
    reading = read(software, tmp_path, texts)
    assert [each.why for each in reading.not_understood] == [why]
    assert not reading.sites


AS_INSTALLED = (
    pytest.param(S.NGINX, "/etc/nginx", marks=pytest.mark.server("nginx")),
    pytest.param(S.APACHE, "/etc/apache2", marks=pytest.mark.server("apache2")),
    pytest.param(S.LIGHTTPD, "/etc/lighttpd", marks=pytest.mark.server("lighttpd")),
    pytest.param(S.HAPROXY, "/etc/haproxy", marks=pytest.mark.server("haproxy")),
    pytest.param(S.DOVECOT, "/etc/dovecot", marks=pytest.mark.server("dovecot")),
    pytest.param(S.POSTGRESQL, "/etc/postgresql", marks=pytest.mark.server("pg_ctlcluster")),
    pytest.param(S.MARIADB, "/etc/mysql", marks=pytest.mark.server("mariadbd")),
    pytest.param(S.SLAPD, "/etc/ldap", marks=pytest.mark.server("slapd")),
    pytest.param(S.VSFTPD, "/etc/vsftpd.conf", marks=pytest.mark.server("vsftpd")),
    pytest.param(S.PROSODY, "/etc/prosody", marks=pytest.mark.server("prosody")),
)
SERVES = {
    S.DOVECOT: ["/etc/dovecot/private/dovecot.pem"],
    S.POSTGRESQL: ["/etc/ssl/certs/ssl-cert-snakeoil.pem"],
}


@pytest.mark.parametrize(("software", "etc"), AS_INSTALLED)
def test_debians_own_files_are_understood(software: ServerSoftware, etc: str, tmp_path: Path) -> None:
    place = tmp_path / etc.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if Path(etc).is_dir():
        shutil.copytree(etc, place, symlinks=True, ignore=shutil.ignore_patterns("my.cnf"))
        # Debian's is a link to an alternative, which is a link to this file.
        if software is S.MARIADB:
            (place / "my.cnf").symlink_to("/etc/mysql/mariadb.cnf")
    else:
        shutil.copy(etc, place)
    reading = READERS[software](HostFiles(str(tmp_path)))
    assert reading.main
    assert not reading.not_understood
    found = {site.files.certificate.removeprefix(str(tmp_path)) for site in reading.sites}
    assert found <= set(SERVES.get(software, []))
    assert found or software not in SERVES


def test_what_cannot_be_read_is_noted_and_a_loop_of_includes_ends(tmp_path: Path) -> None:
    (tmp_path / "etc/nginx").mkdir(parents=True)
    (tmp_path / "etc/nginx/nginx.conf").write_text("include nginx.conf; include large; include fifo;")
    (tmp_path / "etc/nginx/large").write_bytes(b" " * (1024 * 1024 + 1))
    (tmp_path / "etc/nginx/fifo").symlink_to("/dev/zero")
    files = HostFiles(str(tmp_path))
    reading = READERS[S.NGINX](files)
    assert {Path(path).name: why for path, why in files.unread.items()}["large"] == "File too large"
    assert [each.why for each in reading.not_understood] == ["an include in it is not followed"]


@pytest.mark.skipif(os.getuid() != 0, reason="gives a link to another user")
def test_no_other_user_chooses_by_a_link_what_root_reads(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("http { server { listen 443 ssl; ssl_certificate a; ssl_certificate_key b; } }")
    (tmp_path / "etc/nginx").mkdir(parents=True)
    (tmp_path / "etc/nginx/nginx.conf").write_text("include link;")
    link = tmp_path / "etc/nginx/link"
    link.symlink_to(secret)
    assert len(READERS[S.NGINX](HostFiles(str(tmp_path))).sites) == 1
    os.lchown(link, 65_534, 65_534)
    files = HostFiles(str(tmp_path))
    assert READERS[S.NGINX](files).sites == []
    (why,) = files.unread.values()
    assert "65534" in why


def test_a_file_that_others_may_change_is_noted(tmp_path: Path) -> None:
    (tmp_path / "etc/nginx").mkdir(parents=True)
    (tmp_path / "etc/nginx/nginx.conf").write_text("")
    (tmp_path / "etc/nginx/nginx.conf").chmod(0o666)
    files = HostFiles(str(tmp_path))
    READERS[S.NGINX](files)
    assert list(files.doubts) == [f"{tmp_path}/etc/nginx/nginx.conf"]


GROWING: dict[str, tuple[ServerSoftware, str]] = {
    "Define of Apache": (
        S.APACHE,
        "Define a0 aaaaaaaaaaaaaaaa\n"
        + "".join(f"Define a{each} ${{a{each - 1}}}${{a{each - 1}}}\n" for each in range(1, 60))
        + "LoadModule ssl_module x\nListen 443\nSSLEngine on\nSSLCertificateFile ${a59}\n",
    ),
    "a setting of Postfix that names itself": (S.POSTFIX, "smtpd_tls_cert_file = /a$a\na = $a$a$a$a$a\n"),
    "settings of Postfix that are empty": (
        S.POSTFIX,
        "smtpd_tls_cert_file = /a$a9\na0 =\n" + "".join(f"a{n} = {f'$a{n - 1}' * 30}\n" for n in range(1, 10)),
    ),
    "macros of Exim that hold each other": (
        S.EXIM,
        "A0_ = aaaaaaaaaaaaaaaa\n"
        + "".join(f"A{each}_ = {f'A{each - 1}_' * 40}\n" for each in range(1, 12))
        + "tls_certificate = /A11_\n",
    ),
    "many macros of Exim": (S.EXIM, "".join(f"A{each}A=\n" for each in range(20_000)) + "tls_certificate = /A7A\n"),
    "protocols of Dovecot": (
        S.DOVECOT,
        "ssl_cert = </a\nssl_key = </b\nprotocols = imap\n" + "protocols = $protocols $SET:protocols\n" * 60,
    ),
    "variables of lighttpd": (
        S.LIGHTTPD,
        'var.a = "aaaaaaaaaaaaaaaa"\n' + "var.a = var.a + var.a\n" * 60 + "ssl.pemfile = var.a\n",
    ),
    "a variable of lighttpd that is added to itself": (S.LIGHTTPD, 'var.a = "aaaa"\n' + "var.a += var.a\n" * 60),
}
"""Texts below 1 MiB that would make more than a server's memory, or take longer than anybody waits."""


@pytest.mark.parametrize("name", GROWING)
def test_no_configuration_makes_more_text_than_is_read(name: str, tmp_path: Path) -> None:
    software, text = GROWING[name]
    master = {"/etc/postfix/master.cf": "smtps inet n - y - - smtpd -o smtpd_tls_wrappermode=yes\n"}
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    reading = read(software, tmp_path, {MAIN_FILES[software]: text, **(master if software is S.POSTFIX else {})})
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert [each.why for each in reading.not_understood][-1] == TOO_MUCH
    assert not reading.sites


HOSTILE: dict[str, tuple[ServerSoftware, str]] = {
    "a file of PostgreSQL that includes itself": (
        S.POSTGRESQL,
        "include postgresql.conf\n" + "include x\n" * 100_000,
    ),
    "texts of prosody without an end": (S.PROSODY, "[[" * 100_000),
    "comments of prosody without an end": (S.PROSODY, "--[[\n" * 50_000),
    "quotation marks of prosody without an end": (S.PROSODY, '"' + '\\"' * 100_000),
    "a host of prosody with a name that is too long": (
        S.PROSODY,
        f'ssl = {{ certificate = "/a", key = "/b" }}\nVirtualHost "{"a." * 200_000}a"\n',
    ),
    "many services of stunnel": (
        S.STUNNEL,
        "".join(f"[{each}]\naccept = {each}\ncert = /a\nconnect = 1\n" for each in range(1, 12_000)),
    ),
}
"""Texts below 1 MiB whose length would count by its square."""


@pytest.mark.parametrize("name", HOSTILE)
def test_no_configuration_takes_longer_than_its_length(name: str, tmp_path: Path) -> None:
    software, text = HOSTILE[name]
    began = time.process_time()
    read(software, tmp_path, {MAIN_FILES[software]: text})
    assert time.process_time() - began < 3


MAIN_FILES = {
    software: next(path for _, each, files, _ in TABLE if each is software for path in files) for software in READERS
}
WORDS = (
    *(
        "{",
        "}",
        ";",
        '"',
        "'",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "=",
        "+",
        "$",
        "\\",
        "#",
        "--",
        "/",
        "\n",
        " ",
        "\t",
        "\0",
    ),
    *(
        "ssl",
        "listen",
        "bind",
        "crt",
        "include",
        "server",
        "443",
        "-o",
        "VirtualHost",
        "<VirtualHost *:443>",
        "</",
        "é",
    ),
    *(".ifdef A", ".endif", "!include", "ssl_cert = <", "[mysqld]", "SSLCertificateFile", "$HTTP", "::", "\udc80"),
)


@pytest.mark.parametrize("software", READERS)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS), max_size=40))
def test_no_text_makes_a_reader_raise(software: ServerSoftware, words: list[str], tmp_path: Path) -> None:
    main = tmp_path / MAIN_FILES[software].lstrip("/")
    main.parent.mkdir(parents=True, exist_ok=True)
    main.write_text("".join(words), encoding="utf-8", errors="surrogateescape")
    READERS[software](HostFiles(str(tmp_path)))

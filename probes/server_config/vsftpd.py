"""vsftpd: `rsa_cert_file` and its like, where `ssl_enable` is on; a setting has no blanks around its sign."""

from __future__ import annotations

from typing import Final

from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, port_number, settings
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = ("/etc/vsftpd.conf", "/etc/vsftpd/*.conf")
_PAIRS: Final = (("rsa_cert_file", "rsa_private_key_file"), ("dsa_cert_file", "dsa_private_key_file"))
_DEFAULT: Final = "/usr/share/ssl/certs/vsftpd.pem"


def read(files: HostFiles) -> ServerReading:
    """Return all sites of vsftpd."""
    reading = ServerReading()
    for main in (each for pattern in _MAIN for each in files.matching(files.located(pattern))):
        found = {each.name: each.value for each in settings(files.read(main) or "", "#")}
        if not found:
            continue
        reading.main.append(main)
        if found.get("ssl_enable", "NO").upper() not in {"YES", "TRUE", "1"}:
            continue
        implicit = found.get("implicit_ssl", "NO").upper() in {"YES", "TRUE", "1"}
        port = port_number(found.get("listen_port", "21"))
        host = host_of(found.get("listen_address", found.get("listen_address6", "")))
        spoken = EndpointProtocol.TLS if implicit else EndpointProtocol.FTP
        listeners = [ConfiguredListener(host, port, spoken)] if port is not None else []
        for certificate_name, key_name in _PAIRS:
            certificate = found.get(certificate_name, _DEFAULT if certificate_name.startswith("rsa") else "")
            if certificate:
                key = files.located(found.get(key_name, certificate))
                reading.add(CertificateFiles(files.located(certificate), key), listeners, (), main)
    return reading

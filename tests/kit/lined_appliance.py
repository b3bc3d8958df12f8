"""Appliances whose console and engine read their chains only if a line of their configuration names them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from monitor.lab.ca import Issued, bundle
from monitor.lab.servers import Site, replace_file, write_site
from tests.kit.appliance import Appliance, running_servers, write_combined
from tests.kit.authority import NAME, ROOT

XML: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<nxengine>
  <!-- the engine {number} -->
  <network>
    <ssl>
      <certificate_file>{certificate}</certificate_file>
      <private_key_file>{key}</private_key_file>
    </ssl>
  </network>
</nxengine>
"""
ENGINES: Final = ("01", "02")
KEPT: Final = {
    "console": {"combined": "*-console-certificate.pem", "chain": "*-console-intermediate.crt"},
    "portal": {"certificate": "*-portal-nginx.crt", "key": "*-portal-nginx.key"},
    "engine": {
        "certificate": "*-engine-certificate.pem",
        "key": "*-engine-key.pem",
        "chain": "*-engine-intermediate.crt",
    },
}
"""By component and artefact: the names of files in the folder of the console."""
_AS_THE_ENGINE_READS_IT: Final = """\
#!/bin/sh
# The server that stands for the engine takes the chain that the engine's own configuration names.
set -e
chain=$(sed -n 's|^ *<certificate_chain_file>\\(.*\\)</certificate_chain_file>$|\\1|p' {xml})
grep -v '^ssl.ca-file' {conf} > {conf}.made
[ -z "$chain" ] || echo "ssl.ca-file = \\"$chain\\"" >> {conf}.made
mv {conf}.made {conf}
kill -USR1 {pid}
"""


class LinedAppliance(Appliance):
    """An appliance that begins with a certificate of the root itself, and without any chain."""

    def artefacts(self, name: str) -> dict[str, str]:
        """Return the files of a component, each appliance's own way."""
        chain = {} if name == "portal" else {"chain": self.chain(name)}
        return {**super().artefacts(name), **chain}

    def component(self, name: str, **more: object) -> dict[str, object]:
        """Return a component as it is configured."""
        made = {**super().component(name), **more}
        if name == "portal":
            return made
        syntax, setting = ("lighttpd", "ssl.ca-file") if name == "console" else ("xml", "ssl/certificate_chain_file")
        lines = [{"file": path, "syntax": syntax, "setting": setting} for path in self.configurations(name)]
        service = made["service"]
        assert isinstance(service, dict)
        if name == "engine":
            # The engine has no test: the server that stands for it has its configuration only once it is restarted.
            service = {"restart": [f"{self.directory}/engine/restart"]}
        return {**made, "service": service, "artefacts": {**self.artefacts(name), "lines": lines}}

    @property
    def folder(self) -> str:
        """Return the folder in which the appliance's own console keeps earlier files."""
        return f"{self.directory}/backup"

    def with_folder(self) -> dict[str, dict[str, object]]:
        """Return what each component says of that folder."""
        every = {name: {"directory": self.folder, "names": KEPT[name]} for name in self.servers}
        return {name: {"backup_folder": folder} for name, folder in every.items()}

    def keep(self, date: str, issued: Issued, *left_out: str) -> None:
        """Write a set of all components into that folder, as the console does, without some of the files."""
        os.makedirs(self.folder, exist_ok=True)
        content = {
            "console-certificate.pem": issued.pem() + issued.key_pem(),
            "console-intermediate.crt": bundle(issued.chain[1:]),
            "portal-nginx.crt": issued.chain_pem(),
            "portal-nginx.key": issued.key_pem(),
            "engine-certificate.pem": issued.pem(),
            "engine-key.pem": issued.key_pem(),
            "engine-intermediate.crt": bundle(issued.chain[1:]),
        }
        for name, data in content.items():
            if data and name not in left_out and name.partition("-")[0] in self.servers:
                replace_file(f"{self.folder}/{date}-{name}", data, 0o600)

    def chain(self, name: str) -> str:
        """Return the file with the intermediates of a component."""
        return f"{self.directory}/{name}/intermediate.crt"

    def configurations(self, name: str) -> list[str]:
        """Return the configuration files of a component that name its chain."""
        if name == "console":
            return [self.servers[name].config_file]
        return [f"{self.directory}/engine/{number}/nxengine.xml" for number in ENGINES]

    def lines(self, name: str) -> list[bool]:
        """Return for each configuration file of a component whether it names the chain."""
        texts = (Path(path).read_text() for path in self.configurations(name))
        return [
            f'ssl.ca-file = "{self.chain(name)}"\n' in text
            or f"<certificate_chain_file>{self.chain(name)}</certificate_chain_file>" in text
            for text in texts
        ]

    def on_disk(self) -> dict[str, bytes]:
        """Return what the files of all components hold, configuration files included; a missing file is left out."""
        paths = [path for name in self.servers for path in self.artefacts(name).values()]
        paths += [path for name in self.servers if name != "portal" for path in self.configurations(name)]
        return {path: Path(path).read_bytes() for path in paths if os.path.exists(path)}

    def write_restart(self) -> None:
        """Write the command that restarts the engine."""
        server = self.servers["engine"]
        xml = f"{self.directory}/engine/01/nxengine.xml"
        text = _AS_THE_ENGINE_READS_IT.format(conf=server.config_file, pid=server.pid, xml=xml)
        replace_file(f"{self.directory}/engine/restart", text.encode(), 0o755)


@contextmanager
def lined_appliance(role: str = "primary") -> Iterator[LinedAppliance]:
    """Give an appliance with its servers running."""
    old = ROOT.issue(NAME)

    def site_of(directory: str, name: str) -> Site:
        if name == "console":
            return write_combined(directory, old.pem() + old.key_pem())
        site = write_site(f"{directory}/{name}", old, stem=name)
        for number in ENGINES if name == "engine" else ():
            os.makedirs(f"{directory}/engine/{number}")
            text = XML.format(number=number, certificate=site.certificate, key=site.key)
            replace_file(f"{directory}/engine/{number}/nxengine.xml", text.encode(), 0o640)
        return site

    with running_servers(role, site_of) as (directory, servers):
        made = LinedAppliance(role, directory, servers, old)
        if "engine" in servers:
            made.write_restart()
        made.configure()
        yield made

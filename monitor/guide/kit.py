"""Kits that bring roots and intermediates to machines on which certvigil does not run: files by name, pure.

A kit holds public certificates and text alone. The same certificates give the same bytes, a signature aside.
"""

from __future__ import annotations

import plistlib
import ssl
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from config.guide import powershell_string
from config.immutable import immutable
from config.text import Printable, sentence
from monitor.guide.facts import names_of, thumbprint
from monitor.guide.markdown import code
from probes.certificate import Certificate, roots_in

Files = dict[str, bytes]
"""Content by file name."""
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@immutable
class Brought:
    """The certificates of a kit, each with its file name without extension."""

    roots: Mapping[str, Certificate]
    intermediates: Mapping[str, Certificate]

    @property
    def all(self) -> Mapping[str, Certificate]:
        """All of them, roots first."""
        return {**self.roots, **self.intermediates}


@immutable
class Signer:
    """Who signs a configuration profile."""

    key: SigningKey
    certificates: tuple[Certificate, ...]
    """That of the key first, then its issuers."""


def sort_out(anchors: Sequence[Certificate], others: Iterable[Certificate]) -> tuple[Brought, tuple[Printable, ...]]:
    """Return the certificates of a kit, and a remark on each certificate that is left out.

    Roots come from `anchors` alone: a root in the chain of a server proves nothing.
    """
    roots = tuple(dict.fromkeys(roots_in(anchors)))
    issuing = [each for each in (*anchors, *others) if each.is_ca and not each.self_issued]
    intermediates = tuple(dict.fromkeys(issuing))
    brought = {*roots, *intermediates}
    left_out = dict.fromkeys(each for each in (*anchors, *others) if each not in brought)
    remarks = tuple(
        sentence("left out, since it is in no trust store: {}", each.title)
        if each.is_ca
        else sentence("left out, since it is no CA's: {}", each.title)
        for each in left_out
    )
    return (
        Brought(
            dict(zip(names_of(roots, "root"), roots, strict=True)),
            dict(zip(names_of(intermediates, "intermediate"), intermediates, strict=True)),
        ),
        remarks,
    )


def windows(brought: Brought) -> Files:
    """Return a kit for the certificate stores of Windows."""
    return {
        **_certificates(brought),
        "install.ps1": _windows_text(_powershell(brought)),
        "install.cmd": _windows_text(_batch(brought)),
        "README.md": _text(_windows_readme(brought)),
    }


def macos(brought: Brought, signer: Signer | None = None) -> Files:
    """Return a kit for the keychains of macOS; its configuration profile is signed where a signer is given."""
    profile = mobileconfig(brought)
    return {
        **_certificates(brought),
        "root.mobileconfig": profile if signer is None else signed_profile(profile, signer),
        "README.md": _text(_macos_readme(brought, is_signed=signer is not None)),
    }


def _certificates(brought: Brought) -> Files:
    files: Files = {}
    for name, each in brought.all.items():
        files[f"{name}.cer"] = each.der
        files[f"{name}.pem"] = ssl.DER_cert_to_PEM_cert(each.der).encode()
    return files


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _windows_text(lines: Iterable[str]) -> bytes:
    """Return a script in ASCII: without a mark in front, PowerShell 5 takes a file for the code page of the machine."""
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", errors="backslashreplace")


# Windows

_STORE_OF_ROOTS: Final = "Root"
_STORE_OF_INTERMEDIATES: Final = "CA"


def _placed(brought: Brought) -> Iterator[tuple[str, Certificate, str]]:
    """Yield the name of each certificate, itself, and the Windows store that it belongs into."""
    yield from ((name, each, _STORE_OF_ROOTS) for name, each in brought.roots.items())
    yield from ((name, each, _STORE_OF_INTERMEDIATES) for name, each in brought.intermediates.items())


def _powershell(brought: Brought) -> Iterator[str]:
    yield "#Requires -RunAsAdministrator"
    yield "# Brings the certificates beside this script to the stores of this computer, if they are the expected ones."
    yield "$ErrorActionPreference = 'Stop'"
    yield "function Add-Expected([string] $File, [string] $Sha256, [string] $Store) {"
    yield "    $path = Join-Path -Path $PSScriptRoot -ChildPath $File"
    yield "    $found = (Get-FileHash -LiteralPath $path -Algorithm SHA256).Hash"
    yield '    if ($found -ne $Sha256) { throw "$File has the SHA-256 $found, expected $Sha256" }'
    yield '    $null = Import-Certificate -FilePath $path -CertStoreLocation "Cert:\\LocalMachine\\$Store"'
    yield '    Write-Output "$File is in Cert:\\LocalMachine\\$Store"'
    yield "}"
    for name, each, store in _placed(brought):
        yield f"# {each.title}"
        words = (f"{name}.cer", each.sha256.upper(), store)
        yield f"Add-Expected {' '.join(map(powershell_string, words))}"


def _batch(brought: Brought) -> Iterator[str]:
    # A batch file expands % also in a remark, so no name from a certificate stands here.
    yield "@echo off"
    yield "rem Brings the certificates beside this script to the stores of this computer, if they are as expected."
    yield 'cd /d "%~dp0" || exit /b 1'
    for name, each, store in _placed(brought):
        yield f"certutil -hashfile {name}.cer SHA256 | findstr /i /x /c:{each.sha256} >nul"
        yield f"if errorlevel 1 (echo {name}.cer is not the expected certificate& exit /b 1)"
        yield f"certutil -f -addstore {store} {name}.cer || exit /b 1"


def _windows_readme(brought: Brought) -> Iterator[str]:
    yield "# Roots for Windows"
    yield ""
    yield "Compare these values with those that your CA published, before a certificate is trusted:"
    yield ""
    for name, each, store in _placed(brought):
        called = "Trusted Root" if store == _STORE_OF_ROOTS else "Intermediate"
        yield f"- `{name}.cer`, for the {called} Certification Authorities: {code(each.title)}"
        yield f"  - SHA-256 `{each.sha256}`"
        yield f"  - thumbprint `{thumbprint(each)}`"
    yield ""
    yield "Each certificate is there in DER (`.cer`) and in PEM (`.pem`)."
    yield ""
    yield "## On one device, as administrator"
    yield ""
    yield "```powershell"
    yield "powershell -ExecutionPolicy Bypass -File .\\install.ps1"
    yield "```"
    yield ""
    yield "Or `install.cmd`, which takes `certutil`. To see that they are there:"
    yield ""
    yield "```powershell"
    for _, each, store in _placed(brought):
        yield f"Get-ChildItem Cert:\\LocalMachine\\{store}\\{thumbprint(each)}"
    yield "```"
    yield ""
    yield "To take them away again:"
    yield ""
    yield "```powershell"
    for _, each, store in _placed(brought):
        yield f"Remove-Item Cert:\\LocalMachine\\{store}\\{thumbprint(each)}"
    yield "```"
    yield ""
    yield "## On many devices, by Group Policy"
    yield ""
    yield "1. In Group Policy Management, edit a policy of these devices."
    yield "2. Open Computer Configuration > Policies > Windows Settings > Security Settings > Public Key Policies."
    for number, (name, _, store) in enumerate(_placed(brought), 3):
        called = "Trusted Root" if store == _STORE_OF_ROOTS else "Intermediate"
        yield f"{number}. Right-click {called} Certification Authorities, select Import..., and select `{name}.cer`."
    yield ""
    yield "`gpupdate /force` has a device take it up at once."


# macOS

_IDENTIFIER: Final = "certvigil"


def mobileconfig(brought: Brought) -> bytes:
    """Return a configuration profile of Apple's that installs these certificates, as a property list in XML.

    Its identifiers come from the hashes of the certificates: so a second profile of the same ones replaces the first.
    """
    payloads = [
        *(_payload(name, each, "com.apple.security.root") for name, each in brought.roots.items()),
        *(_payload(name, each, "com.apple.security.pkcs1") for name, each in brought.intermediates.items()),
    ]
    whole = _uuid("profile", *(each.sha256 for each in brought.all.values()))
    titles = ", ".join(each.title for each in brought.roots.values())
    return plistlib.dumps(
        {
            "PayloadContent": payloads,
            "PayloadDescription": "Installs root certificates, so that this device trusts servers of their CA.",
            "PayloadDisplayName": f"Root certificates: {titles}",
            "PayloadIdentifier": f"{_IDENTIFIER}.roots.{whole}",
            "PayloadRemovalDisallowed": False,
            "PayloadScope": "System",
            "PayloadType": "Configuration",
            "PayloadUUID": whole,
            "PayloadVersion": 1,
        },
        sort_keys=True,
    )


def _payload(name: str, certificate: Certificate, kind: str) -> dict[str, Any]:
    return {
        "PayloadCertificateFileName": f"{name}.cer",
        "PayloadContent": certificate.der,
        "PayloadDescription": "A certificate.",
        "PayloadDisplayName": str(certificate.title),
        "PayloadIdentifier": f"{_IDENTIFIER}.certificate.{certificate.sha256}",
        "PayloadType": kind,
        "PayloadUUID": _uuid("certificate", certificate.sha256),
        "PayloadVersion": 1,
    }


def _uuid(*what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:{_IDENTIFIER}:{':'.join(what)}")).upper()


def signed_profile(profile: bytes, signer: Signer) -> bytes:
    """Return a configuration profile within signed data (CMS, RFC 5652) in DER."""
    leaf, *issuers = [x509.load_der_x509_certificate(each.der) for each in signer.certificates]
    builder = pkcs7.PKCS7SignatureBuilder().set_data(profile).add_signer(leaf, signer.key, hashes.SHA256())
    for each in issuers:
        builder = builder.add_certificate(each)
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _macos_readme(brought: Brought, *, is_signed: bool) -> Iterator[str]:
    yield "# Roots for macOS"
    yield ""
    yield "Compare these values with those that your CA published, before a certificate is trusted:"
    yield ""
    for name, each in brought.all.items():
        yield f"- `{name}.cer`: {code(each.title)}"
        yield f"  - SHA-256 `{each.sha256}`"
    yield ""
    yield "Each certificate is there in DER (`.cer`) and in PEM (`.pem`)."
    yield ""
    yield "## On many devices, by MDM"
    yield ""
    kind = "signed" if is_signed else "not signed"
    yield f"Have your MDM install `root.mobileconfig` ({kind}). A root that an MDM installs is trusted for TLS."
    yield "A profile that a person installs by hand is not: this person also sets the root to Always Trust."
    yield ""
    yield "## On one device, as administrator"
    yield ""
    yield "```sh"
    for name in brought.roots:
        yield f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {name}.cer"
    for name in brought.intermediates:
        yield f"sudo security add-certificates -k /Library/Keychains/System.keychain {name}.cer"
    yield "```"
    yield ""
    yield "To see that a root is there:"
    yield ""
    yield "```sh"
    for name in brought.roots:
        yield f"security verify-cert -c {name}.cer"
    yield "```"

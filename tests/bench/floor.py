"""The least that a first scan could cost: `python -m tests.bench.floor DIRECTORY` prints its seconds."""

from __future__ import annotations

import glob
import sys
import time

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256


def main(directory: str) -> None:
    """Read each file, load its certificates, and take names, extensions, key and SHA-256 of each."""
    started = time.perf_counter()
    for path in glob.iglob(f"{directory}/**/*.pem", recursive=True):
        with open(path, "rb") as file:
            data = file.read()
        for each in x509.load_pem_x509_certificates(data):
            _ = each.subject, each.issuer, each.extensions, each.public_key(), each.fingerprint(SHA256())
    sys.stdout.write(f"{time.perf_counter() - started:.4f}\n")


if __name__ == "__main__":
    main(sys.argv[1])

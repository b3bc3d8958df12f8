"""A private key in PEM or DER, as the library has it."""

from __future__ import annotations

import warnings

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning

# A key of an old kind is nothing to write to the log.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, message="Diffie-Hellman over finite")

_PEM_BEGINS = b"-----"


def load_private_key(data: bytes, password: bytes | None = None, *, validated: bool = False) -> PrivateKeyTypes:
    """Return a private key; with `validated`, the numbers of an RSA key are checked, which takes long.

    Raises TypeError where the key is encrypted and no password is given, or the reverse; ValueError and
    UnsupportedAlgorithm where it cannot be decoded.
    """
    load = load_pem_private_key if data.startswith(_PEM_BEGINS) else load_der_private_key
    return load(data, password, unsafe_skip_rsa_key_validation=not validated)

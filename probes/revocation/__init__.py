"""Revocation: the lists that CAs sign, and what they say of a certificate. Nothing here fetches anything."""

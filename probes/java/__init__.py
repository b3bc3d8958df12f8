"""Java's own keystores, JKS and JCEKS: bytes and a password in, entries out.

`probes.java.store` reads the entries, `probes.java.lock` opens private keys, `probes.java.secret` passes over secret
keys. None of them does I/O, and none runs or builds anything that a file describes.
"""

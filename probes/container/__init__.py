"""Containers: the format of a file by its content, and the certificates and private keys in it.

`probes.container.registry` has the table of formats and opens content; each format has a module beside it.
"""

"""Containers: the format of a file by its content, and the certificates and private keys in it.

Bytes and perhaps a password in, values out: a format opens no file, raises nothing, and knows neither path nor role.
`probes.container.registry` has the table of formats and opens content; each format has a module beside it.
"""

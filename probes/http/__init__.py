"""One request over TLS and its answer: the conversation without I/O, and leading it over a socket."""

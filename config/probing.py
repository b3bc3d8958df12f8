"""What a request for `/probe` may ask for: modules, as blackbox_exporter and ssl_exporter call them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from config.immutable import immutable
from config.vocabulary import EndpointProtocol, ProbeKind

if TYPE_CHECKING:
    from config.model import Proxy

MOST_TURNS: Final = 20
"""Of one dialogue."""


@immutable
class ProbeTurn:
    """One turn of a dialogue: what is awaited from the server, then what is sent, then perhaps TLS."""

    expect: str = ""
    """A regular expression that some line of the server must match; empty where nothing is awaited."""
    expect_bytes: bytes = b""
    """The very bytes that must come, in place of a line."""
    send: str = ""
    """A line for the server, in which `${1}` is the first group of `expect`; a line feed is added."""
    starttls: bool = False
    """TLS begins after it."""


@immutable
class ProbeModule:
    """How a target is looked at, and the condition of success beside the clients' verdicts."""

    kind: ProbeKind
    target: str | None = None
    """The only target; None leaves it to the request."""
    timeout: float | None = None
    """Seconds; None leaves them to the request and the endpoint."""
    server_name: str | None = None
    """The name that is asked for and verified; None leaves it to the request and the target."""
    verifies: bool = True
    """Whether success needs the verdicts of the clients."""
    protocol: EndpointProtocol | None = None
    """What is spoken first; None leaves that to the endpoint."""
    before: tuple[ProbeTurn, ...] = ()
    """A dialogue in the clear before TLS, whose last turn begins it; without any, TLS begins at once."""
    within: tuple[ProbeTurn, ...] = ()
    """A dialogue within TLS."""
    proxy: Proxy | None = None
    """It resolves the host of the target, and connects to it."""

    @property
    def asks(self) -> bool:
        """Whether a request is sent, and there must be an answer in HTTP."""
        return self.kind in {ProbeKind.HTTPS, ProbeKind.HTTP, ProbeKind.HTTP_FILE}

    @property
    def wants_2xx(self) -> bool:
        """Whether redirects are followed, and the status of the answer must be one of 200 to 299."""
        return self.kind in {ProbeKind.HTTP, ProbeKind.HTTP_FILE}

    @property
    def default_port(self) -> int | None:
        """The port of a target without one; None where the target needs one."""
        return 443 if self.asks else None

    @property
    def called(self) -> str:
        """The name of its prober in ssl_exporter, which has none that follows redirects."""
        return "https" if self.kind is ProbeKind.HTTP else str(self.kind)


def split_turns(turns: tuple[ProbeTurn, ...], *, tls: bool) -> tuple[tuple[ProbeTurn, ...], tuple[ProbeTurn, ...]]:
    """Return the turns before TLS and those within it; with `tls`, all are within it."""
    last = next((index for index, each in enumerate(turns) if each.starttls), None)
    if tls or last is None:
        return (), turns
    return turns[: last + 1], turns[last + 1 :]


_TCP: Final = ProbeModule(ProbeKind.TCP)
_HTTPS: Final = ProbeModule(ProbeKind.HTTPS)
_HTTP: Final = ProbeModule(ProbeKind.HTTP)
_SMTP: Final = ProbeModule(ProbeKind.TCP, protocol=EndpointProtocol.SMTP)
_FILE: Final = ProbeModule(ProbeKind.FILE)

MODULES: Final[Mapping[str, ProbeModule]] = MappingProxyType(
    {
        "tls": _TCP,
        "tcp": _TCP,
        "tls_connect": _TCP,
        "https": _HTTPS,
        "http": _HTTPS,
        "https_insecure": ProbeModule(ProbeKind.HTTPS, verifies=False),
        "http_2xx": _HTTP,
        "smtp_starttls": _SMTP,
        "tcp_smtp_starttls": _SMTP,
        "imap_starttls": ProbeModule(ProbeKind.TCP, protocol=EndpointProtocol.IMAP),
        "postgresql": ProbeModule(ProbeKind.TCP, protocol=EndpointProtocol.POSTGRES),
        "pop3s_banner": ProbeModule(ProbeKind.TCP, within=(ProbeTurn(expect=r"^\+OK"),)),
        "file": _FILE,
        "kubeconfig": ProbeModule(ProbeKind.KUBECONFIG),
        "http_file": ProbeModule(ProbeKind.HTTP_FILE),
    }
)
"""Those that the shipped configurations of blackbox_exporter and ssl_exporter have, as far as they are about TLS."""
DEFAULT_MODULE: Final = "tls"

"""The scalars of the configuration document: how each is read, described to an editor and written again.

A reader raises ValueError with the expected value, which becomes the second half of a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from math import isclose
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from config import label
from config.address import is_dns_name, is_ip_address, split_address, split_proxy
from config.model import DAY
from config.pattern import expression_for_paths, is_simple
from config.pointer import MOST_STEPS, is_pointer
from config.text import printable

RESERVED_NAMES: Final = frozenset({"certvigil"})
"""Names that no endpoint may have: certvigil itself is a target."""

_SECONDS: Final = {"d": DAY, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])|([0-9]{1,9})ms"
_OTHER_WORDS: Final = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY),
}
"""Units in the spelling of other programs, for a guess at the meaning."""
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([a-z]{0,12})[ ,]*", re.IGNORECASE | re.ASCII)
_SHARE: Final = r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%"
_DATE: Final = r"2[0-9]{3}-[0-9]{2}-[0-9]{2}"
_CHANNEL_URL: Final = r"[A-Za-z][A-Za-z0-9+.-]{0,39}://\S{0,4000}"
_WEB_URL: Final = r"https?://[^\s/?#]+\S{0,4000}"
_PLAIN_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"


class NoDurationError(ValueError):
    """The text is no duration."""

    def __init__(self, value: object) -> None:
        super().__init__("a duration such as 30s, 5m, 3h or 2d")
        is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        self.guess = _guess(str(value)) if is_plain else ""
        """The duration that it may mean; empty where there is no guess."""


def duration(value: object) -> float:
    """Return the seconds that a text such as `30s` or `500ms` stands for."""
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise NoDurationError(value)
    return int(match[3]) / 1000 if match[3] else round(float(match[1]) * _SECONDS[match[2]], 3)


def _guess(text: str) -> str:
    parts = list(_PART.finditer(text))
    units = [_OTHER_WORDS.get(part[2].lower()) for part in parts]
    if not parts or "".join(part[0] for part in parts) != text or None in units:
        return ""
    seconds = sum(float(part[1]) * (unit or 0) for part, unit in zip(parts, units, strict=True))
    return duration_text(seconds) if isclose(seconds, round(seconds, 3), rel_tol=1e-9) else ""


def duration_text(seconds: float) -> str:
    """Return `seconds` as `duration` reads it, in the largest unit that leaves no fraction."""
    unit = next((unit for unit, size in _SECONDS.items() if seconds and seconds % size == 0), "s")
    return f"{seconds / _SECONDS[unit]:.3f}".rstrip("0").rstrip(".") + unit


def default_duration(seconds: float) -> Any:
    """Return a field whose default has the spelling of people, also in an editor."""
    return Field(default=duration_text(seconds), validate_default=True)


def _interval(value: object) -> float:
    try:
        seconds = duration(value)
    except NoDurationError as error:
        if error.guess and duration(error.guess) < _SHORTEST:
            raise ValueError(_LONGER) from None
        raise
    if seconds < _SHORTEST:
        raise ValueError(_LONGER)
    return seconds


def _long_interval(value: object) -> float:
    seconds = duration(value)
    if seconds < _AN_HOUR:
        raise ValueError("a duration of at least 1h")
    return seconds


_AN_HOUR: Final = 3600
_SHORTEST: Final = 0.1
_LONGER: Final = "a duration of at least 0.1s"


def _share(value: object) -> float:
    match = re.fullmatch(_SHARE, value) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError("a share such as 33%, at most 100%")
    return float(match[1]) / 100


def share_text(share: float) -> str:
    """Return `share` as it is written, such as `33%`."""
    return f"{share * 100:.6f}".rstrip("0").rstrip(".") + "%"


def _days(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 36_500:
        raise ValueError("a number of days, at most 36500")
    return float(value)


def _last_day(value: object) -> int:
    """Return the Unix time at which the day ends."""
    try:
        day = datetime.fromisoformat(value if isinstance(value, str) and re.fullmatch(_DATE, value) else "")
    except ValueError:
        raise ValueError("a date such as 2027-03-31") from None
    return int(day.replace(tzinfo=UTC).timestamp()) + DAY


def last_day_text(end: int) -> str:
    """Return the day that ends at Unix time `end`."""
    return f"{datetime.fromtimestamp(end - DAY, UTC):%Y-%m-%d}"


def _whole_number(least: int, most: int) -> Any:
    """Return the type of a whole number; the digits of a variable count as a number."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return Annotated[int, BeforeValidator(read), WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})]


def _text(expected: str, check: Callable[[str], bool], pattern: str | None = None) -> Any:
    """Return the type of a text that satisfies `check`."""

    def read(value: str) -> str:
        if not check(value):
            raise ValueError(expected)
        return value

    schema = {"type": "string"} | ({"pattern": f"^{pattern}$"} if pattern else {})
    return Annotated[str, AfterValidator(read), WithJsonSchema(schema)]


def _is_proxy(text: str) -> bool:
    try:
        return split_proxy(text)[2] > 0
    except ValueError:
        return False


def _port_of(address: str) -> int | None:
    try:
        return split_address(address)[1]
    except ValueError:
        return None


def _is_target_name(text: str) -> bool:
    # The name of a watched file is its path.
    ours = text.startswith("/") or text in RESERVED_NAMES
    return 0 < len(text) <= 200 and printable(text) == text.strip() == text and not ours


def _sentence(text: str) -> str:
    """Return `text` on one line."""
    words = " ".join(text.split())
    unescaped = words.replace("\\", "")
    if not words or printable(unescaped, len(text)) != unescaped:
        raise ValueError("some words of printable characters")
    return words


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def channel_url(text: str) -> str:
    """Return `text` if it may be a URL of apprise. Only apprise knows whether it is."""
    if not re.fullmatch(_CHANNEL_URL, text) or not text.isprintable():
        raise ValueError("a URL such as slack://...")
    return text


def heartbeat_url(text: str) -> str:
    """Return `text` if it is an `http` or `https` URL with a host."""
    if not re.fullmatch(_WEB_URL, text) or not text.isprintable():
        raise ValueError("an http or https URL")
    return text


def _is_host(text: str) -> bool:
    return is_ip_address(text) or is_dns_name(text)


_DURATION_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": f"^(?:{_DURATION})$"})
Duration = Annotated[float, BeforeValidator(duration), _DURATION_SCHEMA]
Interval = Annotated[float, BeforeValidator(_interval), _DURATION_SCHEMA]
LongInterval = Annotated[float, BeforeValidator(_long_interval), _DURATION_SCHEMA]
"""Of what costs others more than a look: an hour at least."""
Share = Annotated[float, BeforeValidator(_share), WithJsonSchema({"type": "string", "pattern": f"^{_SHARE}$"})]
Days = Annotated[float, BeforeValidator(_days), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 36_500})]
LastDay = Annotated[int, BeforeValidator(_last_day), WithJsonSchema({"type": "string", "format": "date"})]
Concurrency = _whole_number(1, 1000)
HistoryDays = _whole_number(1, 36_500)
Successes = _whole_number(1, 100)
Handshakes = _whole_number(1, 1000)
Attempts = _whole_number(1, 1000)
KeptBackups = _whole_number(1, 1000)
Port = _whole_number(1, 65_535)
PathComponents = _whole_number(0, 100)
SecurityLevel = _whole_number(0, 5)
Mebibytes = _whole_number(1, 64)

Sha256 = _text(
    "the SHA-256 of the token, 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints it",
    lambda text: re.fullmatch("[0-9a-f]{64}", text) is not None,
    "[0-9a-f]{64}",
)
PlainName = _text(
    "letters, digits, '_', '.' and '-', at most 100",
    lambda text: re.fullmatch(_PLAIN_NAME, text) is not None,
    _PLAIN_NAME,
)
LabelName = _text(
    f"the name of a label of Prometheus (letters, digits and '_', at most {label.LONGEST_NAME}) that is none of "
    f"{', '.join(sorted(label.RESERVED))}",
    label.is_label_name,
    label.NAME,
)
LabelValue = _text(
    f"printable characters, at most {label.LONGEST_VALUE}",
    lambda text: bool(text) and label.label_value(text) == text.strip() == text,
)
TargetName = _text(
    "a name of printable characters, at most 200, that is not 'certvigil' and does not begin with '/'", _is_target_name
)
Sentence = Annotated[
    str,
    AfterValidator(_sentence),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


def _path_expression(text: str) -> str:
    expression_for_paths(text)
    return text


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", text) is not None and not re.search(r"[?#@<>\"'\\]", text)
    return plain and parts.scheme in {"http", "https"} and _is_host(host) and port != 0


Host = _text("a DNS name or an IP address", _is_host)
HostPattern = _text(
    "a DNS name such as www.example.com, or *.example.com for all below it",
    lambda text: is_dns_name(text.removeprefix("*.")),
)
SimpleExpression = _text(
    "a simple regular expression: at most two of * + {, one where it does not begin with ^, none behind a group, and "
    "few alternatives",
    lambda text: len(text) <= 200 and is_simple(text),
)
IPAddress = _text("an IP address", is_ip_address)
HostName = _text("a DNS name such as web1.example.com", is_dns_name)
Network = _text("a network without bits of a host, such as 10.0.0.0/8 or fd00::/8", _is_network)
Address = _text("host:port, such as www.example.com:443 or [2001:db8::1]:443", lambda text: bool(_port_of(text)))
ProxyURL = _text("http://HOST:PORT or socks5://HOST:PORT", _is_proxy)
HTTPProxyURL = _text("http://HOST:PORT", lambda text: text.startswith("http://") and _is_proxy(text))
ListenAddress = _text("host:port, such as 127.0.0.1:9790 or [::]:9790", lambda text: _port_of(text) is not None)
ChannelURL = Annotated[str, AfterValidator(channel_url), WithJsonSchema({"type": "string", "format": "uri"})]
HeartbeatURL = Annotated[str, AfterValidator(heartbeat_url), WithJsonSchema({"type": "string", "format": "uri"})]
RunbookURL = HeartbeatURL
WebURL = _text("http:// or https://, a host, and perhaps a port and a path", _is_web_url)
PathExpression = Annotated[str, AfterValidator(_path_expression), WithJsonSchema({"type": "string", "format": "regex"})]
Pointer = _text(
    f"a JSON pointer such as /tls/certificate or /clusters/*/ca, of at most {MOST_STEPS} steps", is_pointer, "/.*"
)
AbsolutePath = _text(
    "an absolute path", lambda text: text.startswith("/") and "\0" not in text and len(text) <= 4096, "/.*"
)

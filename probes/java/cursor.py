"""Reading what Java's DataOutputStream wrote: big-endian numbers, and text in modified UTF-8."""

from __future__ import annotations


class DamagedError(ValueError):
    """The bytes are not what was expected; the text ends a sentence about the keystore, and is printable."""


class Cursor:
    """A position in bytes; reading beyond the end raises DamagedError, and never takes more memory than is read."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size > len(self.data) - self.at:
            raise DamagedError(f"is cut short or damaged at byte {self.at}")
        start, self.at = self.at, self.at + size
        return self.data[start : self.at]

    def number(self, size: int) -> int:
        """Return the unsigned number in the next `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def signed(self, size: int) -> int:
        """Return the signed number in the next `size` bytes."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def sized(self) -> bytes:
        """Return bytes that follow their length of four octets. Java takes it for signed: more than 2**31 is damage."""
        return self.take(self.number(4))

    def text(self) -> str:
        """Return text in modified UTF-8, which follows its length of two octets.

        It has NUL in two octets, and characters beyond 16 bits as two surrogates of three octets each.
        """
        at = self.at
        encoded = self.take(self.number(2))
        try:
            halves = encoded.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise DamagedError(f"is damaged at byte {at}, where text should be") from None
        return halves.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")

"""A network: an IPv4 or IPv6 prefix as plain integers.

`ipaddress` is exact but slow, and an allowlist can hold 100,000 networks. A `Network` is a tuple
(family, first address, prefix length), so it is hashable, sorts in address order, and costs little.
A single address is the network that holds only it.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from mxguard.model.errors import MxguardError


class NetworkError(MxguardError):
    """Text that is not a network, with what was probably meant where that can be said."""

    exit_code = 2


class Network(NamedTuple):
    """`family` is 4 or 6, `first` the lowest address as an integer, `length` the prefix length."""

    family: int
    first: int
    length: int

    @property
    def bits(self) -> int:
        """How many bits an address of this family has: 32 or 128."""
        return 32 if self.family == 4 else 128

    @property
    def last(self) -> int:
        """The highest address as an integer."""
        return self.first | ((1 << (self.bits - self.length)) - 1)

    @property
    def size(self) -> int:
        """How many addresses the network holds."""
        return 1 << (self.bits - self.length)

    @property
    def address(self) -> str:
        """The lowest address as text, without the prefix length."""
        return format_address(self.family, self.first)

    @property
    def is_single(self) -> bool:
        return self.length == self.bits

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"

    def contains(self, other: Network) -> bool:
        """Whether another network lies wholly inside this one."""
        return other.family == self.family and self.first <= other.first and other.last <= self.last


def format_address(family: int, value: int) -> str:
    """An address as text in its canonical form (RFC 5952 for IPv6)."""
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, value.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


def parse_address(text: str) -> tuple[int, int]:
    """(family, value) of an address in text form. Raises NetworkError."""
    family = 6 if ":" in text else 4
    try:
        packed = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, text)
    except (OSError, ValueError) as error:
        raise NetworkError(f"{text!r} is not an IPv4 or IPv6 address") from error
    return family, int.from_bytes(packed, "big")


def parse_network(text: str) -> Network:
    """The network written as ADDRESS or ADDRESS/LENGTH.

    Raises NetworkError for anything else, host bits included: they are a typing error more often
    than not, so the message names the two things that may have been meant.
    """
    address, slash, length_text = text.partition("/")
    family, value = parse_address(address)
    bits = 32 if family == 4 else 128
    if not slash:
        return Network(family, value, bits)
    if not (length_text.isascii() and length_text.isdigit()) or int(length_text) > bits:
        raise NetworkError(f"{text!r} has no prefix length between 0 and {bits} after the slash")
    network = containing(family, value, int(length_text))
    if network.first != value:
        raise NetworkError(
            f"{text!r} has host bits set: write {network} for the network or {address} for the host"
        )
    return network


def containing(family: int, value: int, length: int) -> Network:
    """The network of prefix length `length` in which the address `value` lies."""
    host_bits = (32 if family == 4 else 128) - length
    return Network(family, value >> host_bits << host_bits, length)

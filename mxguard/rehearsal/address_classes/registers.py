"""The registers of nf_tables while a rule is followed: for each byte, what it is of the address.

There are 20 words; NFT_REG_1 to 4 are four words each, NFT_REG32_00 to 15 one. Beside the bytes
stand labels, for contents that tell kinds of packets apart.
"""

from __future__ import annotations

from attrs import define, field

from mxguard.rehearsal.address_classes.headers import Label
from mxguard.rehearsal.address_classes.spans import AddressByte, Span

_BYTES = 80


@define
class Registers:
    """Mutable, for the time of one rule; a new one depends on nothing."""

    _bytes: list[AddressByte | None] = field(factory=lambda: [None] * _BYTES)
    _labels: dict[int, tuple[Label, int]] = field(factory=dict)

    def read(self, register: int, length: int) -> Span:
        """The first `length` bytes from a register on."""
        start = _offset(register)
        return tuple(self._bytes[start : start + length])

    def write(self, register: int, span: Span) -> None:
        """Put a span there; like the kernel, clear the rest of its last word."""
        start = _offset(register)
        padded = (*span, *(None,) * (-len(span) % 4))
        self._bytes[start : start + len(padded)] = padded
        for position in range(start, start + len(padded)):
            self._labels.pop(position, None)

    def clear(self, register: int, length: int) -> None:
        """Put something there that does not depend on the address."""
        self.write(register, (None,) * length)

    def set_label(self, register: int, label: Label, length: int) -> None:
        """Remember what the register's first bytes tell apart."""
        self._labels[_offset(register)] = label, length

    def label(self, register: int, length: int) -> Label | None:
        """What exactly `length` bytes tell apart, if anything."""
        label, known = self._labels.get(_offset(register), (None, 0))
        return label if known == length else None


def _offset(register: int) -> int:
    return (register - 1) * 16 if register < 8 else (register - 8) * 4

"""Interval sets of addresses over netlink: what they hold, and messages that change it.

The kernel keeps an interval as two elements: its first address, and the one behind its last with
the flag INTERVAL_END. An interval that reaches the end of the address space has no second. nft(8)
puts an end at address zero in front of everything, and so does this module, so that a set looks
the same whoever filled it.

An interval here is an inclusive range (first, last), as in `mxguard.model.ranges`. Sets with
timeouts, maps and concatenations are not for this module.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Iterable, Iterator

from mxguard.model.errors import UndecidedError
from mxguard.model.ranges import Range
from mxguard.system import netlink, nftables
from mxguard.system.netlink import Message, NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, SetElement, SetElementFlag, SetElementList, Type

_FAMILY_BYTES = {4: 4, 6: 16}
_ROOM = 60000
"""Bytes of elements in one message: an attribute holds 64 KiB."""

_END_FLAG = netlink.u32(SetElement.FLAGS, SetElementFlag.INTERVAL_END)
_CREATE = netlink.NLM_F_CREATE


def read(link: NetlinkSocket, protocol: int, table: str, name: str, family: int) -> list[Range]:
    """The intervals of a set, in order.

    `protocol` is the table's NFPROTO_*, `family` 4 or 6. Raises NetlinkError (ENOENT where there is
    no such set), InterruptedDumpError, UndecidedError where the set holds something else.
    """
    which = _which(table, name)
    answers = nftables.dump(link, Type.GETSETELEM, protocol, which)
    lists = [
        value
        for answer in answers
        for kind, value in netlink.attributes(answer.payload, NFGENMSG_SIZE)
        if kind == SetElementList.ELEMENTS
    ]
    return _intervals(b"".join(lists), family, f"set {table} {name}")


def flush(protocol: int, table: str, name: str) -> Message:
    """Remove every element of a set."""
    return nftables.message(Type.DELSETELEM, protocol, _which(table, name))


def fill(
    protocol: int, table: str, name: str, family: int, intervals: list[Range]
) -> Iterator[Message]:
    """Add intervals to a set that is empty at this point of the transaction."""
    if not intervals:
        return iter(())
    # An interval from address zero on needs no end in front of it.
    lowest = () if intervals[0][0] == 0 else (_boundary(family, 0, is_end=True),)
    return _spread(
        Type.NEWSETELEM, protocol, table, name, (*lowest, *_boundaries(family, intervals))
    )


def add(
    protocol: int, table: str, name: str, family: int, intervals: Iterable[Range]
) -> Iterator[Message]:
    """Add intervals that overlap none of those in the set."""
    elements = _boundaries(family, intervals)
    return _spread(Type.NEWSETELEM, protocol, table, name, elements)


def remove(
    protocol: int, table: str, name: str, family: int, intervals: Iterable[Range]
) -> Iterator[Message]:
    """Take out intervals, each exactly as the set holds it."""
    elements = _boundaries(family, intervals)
    return _spread(Type.DELSETELEM, protocol, table, name, elements)


def _which(table: str, name: str) -> bytes:
    return netlink.text(SetElementList.TABLE, table) + netlink.text(SetElementList.SET, name)


def _spread(
    kind: Type, protocol: int, table: str, name: str, elements: Iterable[bytes]
) -> Iterator[Message]:
    which = _which(table, name)
    part: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > _ROOM:
            yield nftables.message(kind, protocol, which + nftables.elements_list(part), _CREATE)
            part, size = [], 0
        part.append(element)
        size += len(element)
    if part:
        yield nftables.message(kind, protocol, which + nftables.elements_list(part), _CREATE)


def _boundaries(family: int, intervals: Iterable[Range]) -> Iterator[bytes]:
    width = _FAMILY_BYTES[family]
    highest = (1 << 8 * width) - 1
    start_head, end_head = _head(family, is_end=False), _head(family, is_end=True)
    for first, last in intervals:
        yield start_head + first.to_bytes(width, "big")
        if last < highest:
            yield end_head + (last + 1).to_bytes(width, "big") + _END_FLAG


def _boundary(family: int, address: int, *, is_end: bool) -> bytes:
    value = address.to_bytes(_FAMILY_BYTES[family], "big")
    return _head(family, is_end=is_end) + value + (_END_FLAG if is_end else b"")


def _head(family: int, *, is_end: bool, flag: int = netlink.NLA_F_NESTED) -> bytes:
    """What stands before the address in an encoded element: three attribute headers."""
    width = _FAMILY_BYTES[family]
    whole = width + 12 + (len(_END_FLAG) if is_end else 0)
    return struct.pack(
        "=HHHHHH",
        whole,
        nftables.LIST_ELEM | flag,
        width + 8,
        SetElement.KEY | flag,
        width + 4,
        nftables.DATA_VALUE,
    )


def _intervals(elements: bytes, family: int, subject: str) -> list[Range]:
    starts, ends = _fixed_layout(elements, family) or _any_layout(elements, family, subject)
    starts.sort()
    ends.sort()
    if ends and ends[0] == 0:
        ends.pop(0)
    if len(starts) == len(ends) + 1:
        ends.append(1 << 8 * _FAMILY_BYTES[family])
    if (
        len(starts) != len(ends)
        or not all(map(operator.lt, starts, ends))
        or not all(map(operator.le, ends, starts[1:]))
    ):
        raise UndecidedError(f"{subject} does not hold plain intervals")
    return list(zip(starts, [end - 1 for end in ends], strict=True))


def _fixed_layout(elements: bytes, family: int) -> tuple[list[int], list[int]] | None:
    """Starts and ends where every element has only a key and a flag; None where one has more.

    One pass of a regular expression: 60,000 intervals decoded attribute by attribute would cost
    half a second.
    """
    width = _FAMILY_BYTES[family]
    layouts = [
        (_head(family, is_end=False, flag=flag), _head(family, is_end=True, flag=flag))
        for flag in (0, netlink.NLA_F_NESTED)
    ]
    for start_head, end_head in layouts:
        if not elements.startswith((start_head, end_head)):
            continue
        found = re.findall(
            rb"%s(.{%d})|%s(.{%d})%s"
            % (re.escape(start_head), width, re.escape(end_head), width, re.escape(_END_FLAG)),
            elements,
            re.DOTALL,
        )
        starts = [start for start, _ in found if start]
        ends = [end for _, end in found if end]
        covered = len(starts) * (width + 12) + len(ends) * (width + 12 + len(_END_FLAG))
        if covered == len(elements):
            return _integers(starts, width), _integers(ends, width)
    return None


def _integers(keys: list[bytes], width: int) -> list[int]:
    if width == 4:
        return list(struct.unpack(f">{len(keys)}I", b"".join(keys)))
    return [int.from_bytes(key, "big") for key in keys]


def _any_layout(elements: bytes, family: int, subject: str) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for _, element in netlink.attributes(elements):
        fields = netlink.attribute_map(element)
        value = netlink.attribute_map(fields.get(SetElement.KEY, b"")).get(nftables.DATA_VALUE, b"")
        flags = int.from_bytes(fields.get(SetElement.FLAGS, b"\0"), "big")
        if len(value) != _FAMILY_BYTES[family] or flags & ~SetElementFlag.INTERVAL_END:
            raise UndecidedError(f"{subject} does not hold plain intervals")
        (ends if flags else starts).append(int.from_bytes(value, "big"))
    return starts, ends

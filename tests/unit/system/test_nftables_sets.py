"""Interval sets as the kernel lists them: in any order, with or without more than a key."""

from __future__ import annotations

import pytest

from mxguard.model.errors import UndecidedError
from mxguard.system import netlink, nftables, nftables_sets
from mxguard.system.netlink import Message
from mxguard.system.nftables import SetElement, SetElementList, Type


class Kernel:
    """Answers a dump with the elements of the messages it was given."""

    def __init__(self, *elements: bytes) -> None:
        self.elements = elements

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        assert kind == nftables.message_type(Type.GETSETELEM)
        return [
            nftables.message(
                Type.NEWSETELEM,
                1,
                netlink.text(SetElementList.TABLE, "t") + nftables.elements_list([e]),
            )
            for e in self.elements
        ]


def encoded(family: int, intervals: list[tuple[int, int]]) -> list[bytes]:
    """The elements of the messages that fill a set, one by one."""
    return [
        netlink.nested(nftables.LIST_ELEM, element)
        for message in nftables_sets.fill(1, "t", "s", family, intervals)
        for kind, value in netlink.attributes(message.payload, nftables.NFGENMSG_SIZE)
        if kind == SetElementList.ELEMENTS
        for _, element in netlink.attributes(value)
    ]


def read(family: int, elements: list[bytes]) -> list[tuple[int, int]]:
    kernel = Kernel(*elements)
    return nftables_sets.read(kernel, 1, "t", "s", family)  # type: ignore[arg-type]


INTERVALS = {
    4: [(0, 255), (512, 767), (768, 768), (0xFFFFFF00, 0xFFFFFFFF)],
    6: [(1, 1), (1 << 96, (1 << 97) - 1), ((1 << 128) - 1, (1 << 128) - 1)],
}


@pytest.mark.parametrize("family", [4, 6])
def test_what_fills_a_set_is_what_is_read_from_it_in_whatever_order_it_is_listed(
    family: int,
) -> None:
    elements = encoded(family, INTERVALS[family])
    assert read(family, elements) == INTERVALS[family]
    assert read(family, elements[::-1]) == INTERVALS[family]
    assert read(family, []) == []


def test_an_element_with_a_comment_is_read_like_the_others() -> None:
    elements = encoded(4, INTERVALS[4])
    (_, first), *_ = netlink.attributes(elements[0])
    commented = netlink.nested(
        nftables.LIST_ELEM, first, netlink.attribute(SetElement.USERDATA, b"\0\2x\0")
    )
    assert read(4, [commented, *elements[1:]]) == INTERVALS[4]


@pytest.mark.parametrize(
    "elements",
    [
        encoded(4, [(10, 20), (30, 40)])[:-2] + encoded(4, [(50, 60)])[-1:],
        encoded(4, [(10, 20)])[:1] + encoded(4, [(30, 40)])[1:2] * 2,
        encoded(6, [(10, 20)]),
    ],
)
def test_elements_that_make_no_intervals_are_not_guessed_at(elements: list[bytes]) -> None:
    with pytest.raises(UndecidedError):
        read(4, elements)


def test_many_elements_are_spread_over_messages_that_hold_them() -> None:
    intervals = [(n * 4, n * 4 + 1) for n in range(20_000)]
    messages = list(nftables_sets.fill(1, "t", "s", 4, intervals))
    assert len(messages) > 10
    assert all(len(message.payload) < 1 << 16 for message in messages)

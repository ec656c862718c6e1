"""A whole nftables ruleset: every object as the messages of one generation.

Messages come in an order in which they can be handed back: tables, chains, stateful objects,
flowtables, sets, elements, rules. They are kept byte for byte.
"""

from __future__ import annotations

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import NftRuleset
from mxguard.system import netlink, nftables
from mxguard.system.netlink import InterruptedDumpError, Message, NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, Type

_TRIES = 20


def read_ruleset(socket: NetlinkSocket) -> NftRuleset:
    """The whole ruleset of the socket's namespace, of one generation.

    Read again while a program changes it. Raises UndecidedError where it never holds still,
    NetlinkError where the kernel has no nf_tables or does not let us read it.
    """
    for _ in range(_TRIES):
        generation = nftables.generation(socket)
        try:
            messages = _dump(socket)
        except InterruptedDumpError:
            continue
        if nftables.generation(socket) == generation:
            return NftRuleset(generation, tuple(_frame(message) for message in messages))
    raise UndecidedError(
        f"the nftables ruleset changed each of the {_TRIES} times it was read: a program keeps "
        "rewriting it"
    )


def _dump(socket: NetlinkSocket) -> list[Message]:
    tables = nftables.dump(socket, Type.GETTABLE)
    if not tables:
        return []
    messages = tables + nftables.dump(socket, Type.GETCHAIN)
    messages += nftables.dump(socket, Type.GETOBJ)
    messages += nftables.dump(socket, Type.GETFLOWTABLE)
    sets = nftables.dump(socket, Type.GETSET)
    messages += sets
    for one in sets:
        messages += _elements(socket, one)
    return messages + nftables.dump(socket, Type.GETRULE)


def _elements(socket: NetlinkSocket, one: Message) -> list[Message]:
    fields = netlink.attribute_map(one.payload, NFGENMSG_SIZE)
    request = netlink.attribute(
        nftables.SetElementList.TABLE, fields[nftables.Set.TABLE]
    ) + netlink.attribute(nftables.SetElementList.SET, fields[nftables.Set.NAME])
    return nftables.dump(socket, Type.GETSETELEM, one.payload[0], request)


def _frame(message: Message) -> bytes:
    return netlink.frame(message.type, 0, message.payload, 0)

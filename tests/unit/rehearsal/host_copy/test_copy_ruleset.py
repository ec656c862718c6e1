"""Dumped messages become requests: what is the kernel's own goes, what a rule binds comes first."""

from __future__ import annotations

import struct
import sys

from mxguard.model.snapshot import NftRuleset
from mxguard.rehearsal.host_copy import ruleset
from mxguard.rehearsal.host_copy.compatibility import compatibility
from mxguard.rehearsal.host_copy.restate import restated
from mxguard.system import netlink, nftables
from mxguard.system.netlink import Message, attribute, nested, text, u32
from mxguard.system.nftables import (
    NFPROTO_INET,
    Chain,
    ChainFlag,
    Object,
    Rule,
    Set,
    SetElementList,
    SetFlag,
    Table,
    TableFlag,
    Type,
)

HANDLE = struct.pack("!Q", 7)


def of(*messages: Message) -> NftRuleset:
    frames = (netlink.frame(one.type, 0, one.payload, 0) for one in messages)
    return NftRuleset(1, tuple(frames))


def dumped(kind: Type, *attributes: bytes) -> Message:
    return nftables.message(kind, NFPROTO_INET, b"".join(attributes))


def table(*more: bytes) -> Message:
    return dumped(Type.NEWTABLE, text(Table.NAME, "t"), *more, attribute(Table.HANDLE, HANDLE))


def chain(name: str, flags: int = 0) -> Message:
    return dumped(
        Type.NEWCHAIN,
        text(Chain.TABLE, "t"),
        attribute(Chain.HANDLE, HANDLE),
        text(Chain.NAME, name),
        u32(Chain.USE, 3),
        u32(Chain.FLAGS, flags),
    )


def a_set(name: str, flags: int = 0) -> Message:
    return dumped(
        Type.NEWSET,
        text(Set.TABLE, "t"),
        text(Set.NAME, name),
        u32(Set.FLAGS, flags),
        attribute(Set.HANDLE, HANDLE),
    )


def elements(name: str, *members: bytes) -> Message:
    return dumped(
        Type.NEWSETELEM,
        text(SetElementList.TABLE, "t"),
        text(SetElementList.SET, name),
        nested(SetElementList.ELEMENTS, *members),
    )


def expression(name: str, *attributes: bytes) -> bytes:
    return nested(
        nftables.LIST_ELEM,
        text(nftables.EXPR_NAME, name),
        nested(nftables.EXPR_DATA, *attributes),
    )


def rule(chain_name: str, *expressions: bytes) -> Message:
    return dumped(
        Type.NEWRULE,
        text(Rule.TABLE, "t"),
        text(Rule.CHAIN, chain_name),
        attribute(Rule.HANDLE, HANDLE),
        nested(Rule.EXPRESSIONS, *expressions),
        attribute(Rule.POSITION, HANDLE),
    )


def lookup(name: str) -> bytes:
    return expression("lookup", text(1, name), u32(2, 1))


def jump(name: str) -> bytes:
    verdict = nested(2, u32(1, 0xFFFFFFFD), text(2, name))
    return expression("immediate", u32(1, 0), nested(2, verdict))


def fields(request: Message) -> dict[int, bytes]:
    return netlink.attribute_map(request.payload, nftables.NFGENMSG_SIZE)


def described(request: Message) -> str:
    kind = Type(request.type & 0xFF)
    found = fields(request)
    number = {Type.NEWCHAIN: Chain.NAME, Type.NEWTABLE: Table.NAME}.get(kind, 2)
    return f"{kind.name} {nftables.string(found[number])}"


def groups(*messages: Message) -> list[list[str]]:
    return [[described(one) for one in unit] for unit in ruleset.units(of(*messages))]


def test_handles_use_counts_and_positions_are_left_to_the_kernel() -> None:
    requests = [one for unit in ruleset.units(of(table(), chain("c"), rule("c"))) for one in unit]
    assert [described(one) for one in requests] == ["NEWTABLE t", "NEWCHAIN c", "NEWRULE c"]
    assert Table.HANDLE not in fields(requests[0])
    assert not {Chain.HANDLE, Chain.USE} & fields(requests[1]).keys()
    assert not {Rule.HANDLE, Rule.POSITION} & fields(requests[2]).keys()


def test_rules_are_appended_and_everything_is_created() -> None:
    requests = [one for unit in ruleset.units(of(table(), chain("c"), rule("c"))) for one in unit]
    create, append = netlink.NLM_F_CREATE, netlink.NLM_F_APPEND
    assert [one.flags for one in requests] == [create, create, create | append]


def test_each_set_has_an_id_of_its_own() -> None:
    requests = [one for unit in ruleset.units(of(a_set("a"), a_set("b"))) for one in unit]
    assert len({fields(one)[Set.ID] for one in requests}) == 2


def test_an_anonymous_set_and_its_elements_go_with_the_rule_that_binds_it() -> None:
    assert groups(
        table(),
        chain("c"),
        a_set("named"),
        a_set("__set0", SetFlag.ANONYMOUS),
        elements("__set0", nested(1, b"\1\0\0\0")),
        elements("named", nested(1, b"\1\0\0\0")),
        rule("c", lookup("named")),
        rule("c", lookup("__set0")),
    ) == [
        ["NEWTABLE t"],
        ["NEWCHAIN c"],
        ["NEWSET named"],
        ["NEWSETELEM named"],
        ["NEWRULE c"],
        ["NEWSET __set0", "NEWSETELEM __set0", "NEWRULE c"],
    ]


def test_a_meter_is_an_anonymous_set_under_a_name_of_the_administrators() -> None:
    meter = a_set("flood", SetFlag.ANONYMOUS)
    units = groups(chain("c"), meter, rule("c"), rule("c", expression("dynset", text(1, "flood"))))
    assert units == [["NEWCHAIN c"], ["NEWRULE c"], ["NEWSET flood", "NEWRULE c"]]


def test_a_set_with_a_name_like_an_anonymous_ones_is_no_such_set() -> None:
    units = groups(chain("c"), a_set("__set9"), rule("c", lookup("__set9")))
    assert units == [["NEWCHAIN c"], ["NEWSET __set9"], ["NEWRULE c"]]


def test_chains_in_chains_are_filled_before_the_rule_that_jumps_into_them() -> None:
    assert groups(
        chain("c"),
        chain("__chain1", ChainFlag.BINDING),
        chain("__chain2", ChainFlag.BINDING),
        rule("c", jump("__chain1")),
        rule("__chain1", jump("__chain2")),
        rule("__chain2"),
    ) == [
        ["NEWCHAIN c"],
        [
            "NEWCHAIN __chain1",
            "NEWCHAIN __chain2",
            "NEWRULE __chain2",
            "NEWRULE __chain1",
            "NEWRULE c",
        ],
    ]


def test_the_empty_message_that_ends_a_dump_of_elements_is_left_out() -> None:
    assert groups(a_set("s"), elements("s")) == [["NEWSET s"]]


def test_a_table_keeps_dormant_and_loses_its_owner() -> None:
    flags = TableFlag.DORMANT | TableFlag.OWNER
    owned = table(u32(Table.FLAGS, flags), u32(Table.OWNER, 4711))
    ((request,),) = ruleset.units(of(owned))
    assert fields(request)[Table.FLAGS] == struct.pack("!I", TableFlag.DORMANT)
    assert Table.OWNER not in fields(request)
    assert list(ruleset.owned_tables(of(owned, table()))) == [(NFPROTO_INET, "t")]


def test_handles_of_the_copy_are_matched_by_the_place_in_the_chain() -> None:
    def numbered(name: str, handle: int) -> Message:
        return dumped(
            Type.NEWRULE,
            text(Rule.TABLE, "t"),
            text(Rule.CHAIN, name),
            attribute(Rule.HANDLE, struct.pack("!Q", handle)),
        )

    live = of(numbered("a", 10), numbered("b", 20), numbered("a", 11), numbered("b", 21))
    copied = [numbered("a", 1), numbered("a", 2), numbered("b", 3), numbered("b", 4)]
    assert ruleset.live_handles(live, copied) == {
        (NFPROTO_INET, "t", "a", 1): 10,
        (NFPROTO_INET, "t", "a", 2): 11,
        (NFPROTO_INET, "t", "b", 3): 20,
        (NFPROTO_INET, "t", "b", 4): 21,
    }


def restated_expression(name: str, *attributes: bytes) -> dict[int, bytes]:
    payload = restated(Type.NEWRULE, rule("c", expression(name, *attributes)).payload)
    expressions = netlink.attribute_map(payload, nftables.NFGENMSG_SIZE)[Rule.EXPRESSIONS]
    ((_number, member),) = netlink.attributes(expressions)
    return netlink.attribute_map(netlink.attribute_map(member)[nftables.EXPR_DATA])


def test_a_dynamic_set_update_says_that_it_has_expressions_and_no_timeout_of_zero() -> None:
    inner = text(nftables.EXPR_NAME, "counter")
    got = restated_expression(
        "dynset", text(1, "s"), attribute(6, bytes(8)), nested(7, inner), u32(9, 0)
    )
    assert 6 not in got
    assert got[7] == inner
    assert got[9] == struct.pack("!I", 2)


def test_a_timeout_of_a_dynamic_set_update_is_kept() -> None:
    assert restated_expression("dynset", text(1, "s"), attribute(6, HANDLE))[6] == HANDLE


def test_what_writes_a_tcp_option_has_no_flags_and_what_takes_one_away_no_place() -> None:
    place = (attribute(2, b"\2"), u32(3, 2), u32(4, 2), u32(5, 0), u32(6, 1))
    assert restated_expression("exthdr", *place, u32(7, 1)).keys() == {2, 3, 4, 6, 7}
    assert restated_expression("exthdr", *place).keys() == {2, 6}
    assert restated_expression("exthdr", *place, u32(1, 1)).keys() == {1, 2, 3, 4, 5, 6}


def test_a_used_up_quota_is_taken_back_without_saying_so() -> None:
    got = restated_expression("quota", attribute(1, HANDLE), u32(2, 3), attribute(4, HANDLE))
    assert got == {1: HANDLE, 2: struct.pack("!I", 1), 4: HANDLE}


def test_a_used_up_quota_object_is_taken_back_without_saying_so() -> None:
    data = nested(Object.DATA, attribute(1, HANDLE), u32(2, 2), attribute(4, HANDLE))
    quota = dumped(Type.NEWOBJ, text(Object.NAME, "q"), u32(Object.TYPE, 2), data)
    got = netlink.attribute_map(restated(Type.NEWOBJ, quota.payload), nftables.NFGENMSG_SIZE)
    assert netlink.attribute_map(got[Object.DATA])[2] == bytes(4)


def test_what_holds_nothing_of_the_kind_is_not_touched() -> None:
    payload = rule("c", lookup("s"), expression("counter", attribute(1, HANDLE))).payload
    assert restated(Type.NEWRULE, payload) is payload


META_L4PROTO = expression("meta", u32(2, 16), u32(1, 1))
PAYLOAD_PROTOCOL = expression("payload", u32(1, 1), u32(2, 1), u32(3, 9), u32(4, 1))
XT_MATCH = expression("match", text(1, "tcp"), u32(2, 0), attribute(3, b"blob"))


def compared(operator: int, protocol: int) -> bytes:
    return expression(
        "cmp", u32(1, 1), u32(2, operator), nested(3, attribute(1, bytes((protocol,))))
    )


def compat(*expressions: bytes, family: int = NFPROTO_INET) -> dict[int, bytes]:
    got = compatibility(family, b"".join(expressions))
    return netlink.attribute_map(netlink.attribute_map(got).get(Rule.COMPAT, b""))


def test_a_rule_without_xt_matches_needs_no_protocol_beside_it() -> None:
    assert compatibility(NFPROTO_INET, META_L4PROTO + compared(0, 6)) == b""


def test_the_protocol_of_a_rule_with_xt_matches_is_read_from_the_rule() -> None:
    for load in (META_L4PROTO, PAYLOAD_PROTOCOL):
        got = compat(lookup("s"), load, compared(0, 6), XT_MATCH)
        assert got == {1: struct.pack("!I", 6), 2: struct.pack("!I", 0)}


def test_an_inverted_protocol_is_said_to_be_inverted() -> None:
    got = compat(META_L4PROTO, compared(1, 17), XT_MATCH)
    assert got == {1: struct.pack("!I", 17), 2: struct.pack("!I", 2)}


def test_on_a_bridge_the_protocol_is_the_ethernet_type_as_it_lies_in_memory() -> None:
    load = expression("payload", u32(1, 1), u32(2, 0), u32(3, 12), u32(4, 2))
    arp = expression("cmp", u32(1, 1), u32(2, 0), nested(3, attribute(1, b"\x08\x06")))
    got = compat(load, arp, XT_MATCH, family=nftables.NFPROTO_BRIDGE)
    assert got[1] == struct.pack("!I", int.from_bytes(b"\x08\x06", sys.byteorder))
    assert compat(load, arp, XT_MATCH)[1] == bytes(4)


def test_without_a_protocol_in_the_rule_it_is_none() -> None:
    assert compat(compared(0, 6), XT_MATCH) == {1: bytes(4), 2: bytes(4)}

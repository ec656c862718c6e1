"""What of a host's firewall remembers, rolls dice, or asks a program.

In: a snapshot. Out: whether attempts can influence one another there, so that each source needs a
copy of its own. Pure, and on the safe side: expressions are looked for by their names anywhere in
the messages, so a name in a comment costs time, and nothing that remembers is overlooked.

Not looked for: counters, `last` and conntrack itself, which by themselves decide nothing.
"""

from __future__ import annotations

import re

from mxguard.model.snapshot import Snapshot
from mxguard.system import netlink

_REMEMBERING = (b"limit", b"quota", b"connlimit", b"dynset", b"numgen", b"hashlimit", b"recent")
_CHANCE = (b"numgen", b"statistic")
_META_RANDOM = netlink.u32(2, 24)
"""NFTA_META_KEY with NFT_META_PRANDOM: `meta random`."""
_SYMMETRIC_HASH = netlink.u32(7, 1)
"""NFTA_HASH_TYPE with NFT_HASH_SYM: `symhash`, which each port of a peer's meets otherwise."""
_ASKING = (b"queue", b"NFQUEUE")
_REMEMBERING_TEXT = re.compile(
    r"-m (limit|hashlimit|recent|connlimit|connbytes|quota|statistic|rateest|nfacct)\b|-j SET\b"
)


def keeps_state(snapshot: Snapshot) -> bool:
    """Whether one attempt can change what becomes of a later one."""
    return (
        _mentions(snapshot, (*_REMEMBERING, b"SET"))
        or any(_REMEMBERING_TEXT.search(text) for text in snapshot.xtables.values())
        or has_chance(snapshot)
    )


def outlives_reload(snapshot: Snapshot) -> bool:
    """Whether something stays remembered when the same rules are loaded again.

    xt_recent and xt_hashlimit keep their tables for as long as a rule, old or new, names them.
    """
    return _mentions(snapshot, (b"recent", b"hashlimit")) or any(
        _says(snapshot, f"-m {name} ") for name in ("recent", "hashlimit")
    )


def has_chance(snapshot: Snapshot) -> bool:
    """Whether a rule decides at random or by turns, so that one try proves little."""
    return (
        _mentions(snapshot, _CHANCE)
        or _says(snapshot, "-m statistic ")
        or any(
            (_META_RANDOM in one and b"meta\0" in one)
            or (_SYMMETRIC_HASH in one and b"hash\0" in one)
            for one in snapshot.nftables.messages
        )
    )


def answers_itself(snapshot: Snapshot) -> bool:
    """Whether the firewall answers for a listener before it asks it (synproxy).

    The listener's own SYN/ACK is then lost at times, and comes again after a second (RFC 6298).
    """
    return _mentions(snapshot, (b"synproxy", b"SYNPROXY")) or _says(snapshot, "-j SYNPROXY")


def asks_programs(snapshot: Snapshot) -> bool:
    """Whether a rule hands packets to a program that no copy can run."""
    return _mentions(snapshot, _ASKING) or _says(snapshot, "-j NFQUEUE")


def _mentions(snapshot: Snapshot, names: tuple[bytes, ...]) -> bool:
    # Names are NUL-terminated strings right behind an attribute's header.
    wanted = tuple(name + b"\0" for name in names)
    return any(name in message for message in snapshot.nftables.messages for name in wanted)


def _says(snapshot: Snapshot, words: str) -> bool:
    return any(words in text for text in snapshot.xtables.values())

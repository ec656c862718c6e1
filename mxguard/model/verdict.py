"""What became of the attempts in a rehearsal, and what stopped those that failed."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network


class Verdict(StrEnum):
    """The fate of connections from one source address.

    `dropped`: silence, by a rule. `rejected`: an answer that refuses. `unrouted`: no way to the
    port or back. `unanswered`: it arrived, and nothing listens. `throttled`: some got through.
    `undecided`: the instrument cannot say.
    """

    DELIVERED = "delivered"
    DROPPED = "dropped"
    REJECTED = "rejected"
    UNROUTED = "unrouted"
    UNANSWERED = "unanswered"
    THROTTLED = "throttled"
    UNDECIDED = "undecided"


class StopKind(StrEnum):
    """What kind of thing stops a packet."""

    NFT = "nft"
    IPTABLES = "iptables"
    ROUTE = "route"
    RULE = "rule"
    SYSCTL = "sysctl"
    XDP = "xdp"
    LISTENER = "listener"


@frozen
class StoppedBy:
    """The one thing that stops a packet, as the live host names it.

    `text` is the rule as its own tool prints it, or the route, the sysctl and its value. `handle`
    is the live host's. A base chain's policy has no handle. `program` is what made a rule that
    nft did not make: "iptables-nft", "ip6tables-legacy"…
    """

    kind: StopKind
    text: str
    family: str | None = None
    table: str | None = None
    chain: str | None = None
    handle: int | None = None
    program: str | None = None


class Part(StrEnum):
    """Which packet of a handshake: the peer's SYN, the host's answer to it, the peer's ACK."""

    SYN = "syn"
    ANSWER = "answer"
    ACK = "ack"


@frozen
class Hop:
    """One thing that a traced packet met: a rule, a chain's policy, a routing decision.

    `verdict` is what it decided there ("accept", "continue", "drop", "jump NAME"…). `program` as in
    StoppedBy. `part` is the packet.
    """

    hook: str
    family: str
    table: str
    chain: str
    handle: int | None
    text: str
    verdict: str
    program: str | None = None
    part: Part = Part.SYN


@frozen
class Remedy:
    """Commands for the administrator's shell, in order, that let a stopped source through.

    `proven`: the same change was made in a fresh copy of the host, and the source then got through
    with everything that was asked of it. Without it the remedy is advice.
    """

    commands: tuple[str, ...]
    proven: bool
    why: str = ""


@frozen
class Reachability:
    """One class of a peer's addresses against one destination and port.

    `source` is the address that was tried; `represents` the networks that provably meet the same
    fate. `delivered` of `attempted` simultaneous connections completed their handshake; where the
    first connection alone failed, `attempted` is 1. `reason` says why a verdict is undecided.
    """

    peer: str
    source: Network
    represents: tuple[Network, ...]
    destination: Network
    port: int
    verdict: Verdict
    delivered: int
    attempted: int
    stopped_by: StoppedBy | None = None
    hops: tuple[Hop, ...] = ()
    reason: str = ""
    remedy: Remedy | None = None
